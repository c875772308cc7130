"""How far the trainings of a folder of results are, on all hosts: read from it, nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pai_bench.core.files import server_time
from pai_bench.launch.status import Running
from pai_bench.store import progress_files
from pai_bench.store.progress_files import BundleProgress, CellProgress, RunProgress


@dataclass(frozen=True)
class Training:
    """A bundle that a process trains, and how far it is."""

    running: Running
    progress: BundleProgress | None
    """None where nothing is known: it has just begun, or is the work of an older version."""
    seconds_left: float | None

    @property
    def cells(self) -> tuple[CellProgress, ...]:
        """Those of its cells that are still being trained."""
        if self.progress is None:
            return ()
        return tuple(cell for cell in self.progress.cells if cell.id in self.running.cells)

    @property
    def state(self) -> str:
        """Epoch, or what is done before the first one; or that nothing is done any more."""
        if self.running.has_died:
            return "ended: the next run goes on"
        if self.running.is_silent:
            return "silent: others take over"
        if self.progress is None or not self.progress.epochs:
            return "starting"
        if not self.progress.epoch:
            return ", ".join(filter(None, ("choosing masks", self.progress.message)))
        return f"epoch {self.progress.epoch}/{self.progress.epochs}"

    @property
    def is_alive(self) -> bool:
        """Whether anything is heard of it."""
        return not (self.running.has_died or self.running.is_silent)


def trainings(runs: Path, found: Sequence[Running]) -> list[Training]:
    """Tell how far each of the running bundles is.

    Args:
        runs: Folder of results.
        found: What is being trained (status.py).
    """
    written = {(p.holder.host, p.holder.process): p for p in progress_files.bundles(runs)}
    now = server_time(runs) if written else 0.0
    return [_training(one, written.get((one.host, one.process)), now) for one in found]


def _training(one: Running, progress: BundleProgress | None, now: float) -> Training:
    if progress is None or not any(cell.id in one.cells for cell in progress.cells):
        return Training(one, None, None)
    return Training(one, progress, _left(progress, now))


def _left(progress: BundleProgress | RunProgress, now: float) -> float | None:
    """What is left of the seconds that were left when this was written."""
    if progress.seconds_left is None:
        return None
    return max(0.0, progress.seconds_left - (now - progress.written))


def runs_of(runs: Path, patience: float) -> list[RunProgress]:
    """Tell how far each `pai-bench run` is that has been heard of lately, the oldest first.

    Args:
        runs: Folder of results.
        patience: Seconds without a word after which one counts as gone.
    """
    found = progress_files.all_runs(runs)
    now = server_time(runs) if found else 0.0
    heard_of = [run for run in found if run.written >= now - patience]
    return [replace(run, seconds_left=_left(run, now)) for run in heard_of]
