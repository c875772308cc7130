"""Report the progress of a bundle while the Trainer runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl

from pai_bench.experiment.bundle import Bundle
from pai_bench.training.callbacks.learning_curves import LearningCurves
from pai_bench.training.progress import CurvePoint, OnProgress, Progress

Curves = Mapping[str, Sequence[float]]


class ProgressReporter(pl.Callback):
    """Calls `on_progress` after each epoch, and with each message while masks are chosen."""

    def __init__(self, bundle: Bundle, on_progress: OnProgress) -> None:
        self._bundle, self._on_progress = bundle, on_progress
        self._reported: dict[str, int] = {}
        """Number of points of each cell that were reported."""
        self._previous: Callable[[str], None]

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Install this callback as the method's progress callback."""

        def report(message: str) -> None:
            self._report(trainer, 0, message)

        self._previous = pl_module.progress_callback
        pl_module.progress_callback = report

    def teardown(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Restore the method's progress callback: the module must not hold the Trainer."""
        pl_module.progress_callback = self._previous

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report the start."""
        self._report(trainer, 0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report the epoch that a resumed training starts from."""
        if trainer.current_epoch:
            self._report(trainer, trainer.current_epoch, points=self._new_points(pl_module))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report the end of an epoch."""
        self._report(trainer, trainer.current_epoch + 1, points=self._new_points(pl_module))

    def _new_points(self, module: Any) -> tuple[CurvePoint, ...]:
        """The points of the learning curves that were not reported before."""
        return tuple(
            point
            for cell, curves in self._curves(module).items()
            for point in self._points(cell, curves)
        )

    def _curves(self, module: Any) -> dict[str, Curves]:
        of_module: LearningCurves | Mapping[str, LearningCurves] = module.learning_curves
        if isinstance(of_module, LearningCurves):
            return {self._bundle.cells[0].id: of_module.points}
        return {cell: curves.points for cell, curves in of_module.items()}

    def _points(self, cell: str, curves: Curves) -> Iterator[CurvePoint]:
        number = len(curves.get("test_accuracy", ()))
        for index in range(self._reported.get(cell, 0), number):
            values = {name: curve[index] for name, curve in curves.items() if index < len(curve)}
            yield CurvePoint(cell, index + 1, values)
        self._reported[cell] = number

    def _report(
        self,
        trainer: pl.Trainer,
        epoch: int,
        message: str = "",
        points: tuple[CurvePoint, ...] = (),
    ) -> None:
        progress = Progress(self._bundle, epoch, trainer.max_epochs or 0, message, points)
        self._on_progress(progress)
