"""How fast one training is, apart from the choice of its masks."""

from __future__ import annotations

from pai_bench.training.progress import Progress


class Pace:
    """Estimates what is left of a training by the epochs since the first whose end was seen."""

    def __init__(self) -> None:
        self._began: tuple[int, float] | None = None
        self._ends: float | None = None

    def note(self, progress: Progress, now: float) -> None:
        """Note an epoch that ended `now`, in seconds."""
        if not progress.epoch:
            return
        if self._began is None:
            self._began = progress.epoch, now
        epoch, then = self._began
        if progress.epoch > epoch:
            of_one = (now - then) / (progress.epoch - epoch)
            self._ends = now + (progress.epochs - progress.epoch) * of_one

    def seconds_left(self, now: float) -> float | None:
        """Seconds that are left; None before the end of a second epoch was seen."""
        return None if self._ends is None else max(0.0, self._ends - now)
