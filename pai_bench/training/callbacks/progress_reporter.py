"""Report the progress of a bundle while the Trainer runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from pai_bench.experiment.bundle import Bundle
from pai_bench.training.progress import OnProgress, Progress


class ProgressReporter(pl.Callback):
    """Calls `on_progress` after each epoch, and with each message while masks are chosen."""

    def __init__(self, bundle: Bundle, on_progress: OnProgress) -> None:
        self._bundle, self._on_progress = bundle, on_progress
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
            self._report(trainer, trainer.current_epoch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report the end of an epoch."""
        self._report(trainer, trainer.current_epoch + 1)

    def _report(self, trainer: pl.Trainer, epoch: int, message: str = "") -> None:
        self._on_progress(Progress(self._bundle, epoch, trainer.max_epochs or 0, message))
