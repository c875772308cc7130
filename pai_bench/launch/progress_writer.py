"""Lets other hosts see how far runs and trainings are: files that a thread writes now and then.

Who trains only leaves word of its progress, and never waits for a file.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Generic, TypeVar

from pai_bench.core.background import beside
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.display import ProgressDisplay
from pai_bench.launch.pace import Pace
from pai_bench.store import progress_files
from pai_bench.store.lease_entry import here
from pai_bench.store.progress_files import BundleProgress, CellProgress, RunProgress
from pai_bench.training.progress import Progress

SHORTEST = 1.0
"""Seconds until a file is written first: what is done by then needs none."""
_Kind = TypeVar("_Kind", BundleProgress, RunProgress)


class _Writer(Generic[_Kind]):
    """Writes the latest word of progress: soon at first, then about as often as a lease beats.

    Args:
        runs: Folder of results.
        first: What is said as long as nothing is known.
        longest: Seconds between two writes, after the first few.
    """

    def __init__(self, runs: Path, first: _Kind, longest: float) -> None:
        self._runs, self._longest = runs, longest
        self._latest: _Kind = first
        self._noted = time.monotonic()

    def _note(self, latest: _Kind) -> None:
        self._latest, self._noted = latest, time.monotonic()

    def writing(self) -> AbstractContextManager[None]:
        """Write as long as the block runs; then there is no file any more."""
        return beside(self._write, "progress")

    def _write(self, ended: Event) -> None:
        pause, has_written = min(SHORTEST, self._longest), False
        while not ended.wait(pause):
            pause, has_written = min(2 * pause, self._longest), True
            progress_files.write(self._runs, self._now())
        if has_written:
            progress_files.discard(self._runs, self._latest)

    def _now(self) -> _Kind:
        latest, passed = self._latest, time.monotonic() - self._noted
        if latest.seconds_left is None:
            return latest
        return replace(latest, seconds_left=max(0.0, latest.seconds_left - passed))


class BundleWriter(_Writer[BundleProgress]):
    """Writes how far the training of a bundle is.

    Args:
        runs: Folder of results.
        bundle: What is trained.
        longest: Seconds between two writes, after the first few.
    """

    def __init__(self, runs: Path, bundle: Bundle, longest: float) -> None:
        cells = tuple(
            CellProgress(cell.id, cell.label, cell.density, cell.seed, cell.sanity_check)
            for cell in bundle
        )
        first = BundleProgress(bundle.id, here(), 0, 0, "", None, cells)
        super().__init__(runs, first, longest)
        self._pace = Pace()

    def update(self, progress: Progress) -> None:
        """Note how far the training is."""
        now = time.monotonic()
        self._pace.note(progress, now)
        accuracies = {p.cell: p.values.get("test_accuracy") for p in progress.points}
        cells = tuple(
            replace(cell, accuracy=accuracies.get(cell.id, cell.accuracy))
            for cell in self._latest.cells
        )
        self._note(
            replace(
                self._latest,
                epoch=progress.epoch,
                epochs=progress.epochs,
                message=progress.message,
                seconds_left=self._pace.seconds_left(now),
                cells=cells,
            )
        )


class RunWriter(_Writer[RunProgress]):
    """Writes how far a run is.

    Args:
        runs: Folder of results.
        suite: What is run.
        longest: Seconds between two writes, after the first few.
    """

    def __init__(self, runs: Path, suite: str, longest: float) -> None:
        first = RunProgress(suite, here(), 0, 0, 0, None)
        super().__init__(runs, first, longest)

    def update(self, display: ProgressDisplay) -> None:
        """Note what is shown here."""
        self._note(
            replace(
                self._latest,
                done=display.done,
                failed=display.failed,
                cells=display.total,
                seconds_left=display.seconds_left(),
            )
        )
