"""Wall-clock seconds by phase: choosing masks, training, evaluation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch


class PhaseTimer(pl.Callback):
    """Adds up the seconds of each phase; on a GPU it waits for the device at their ends only."""

    def __init__(self) -> None:
        self.seconds = {"score": 0.0, "train": 0.0, "eval": 0.0}
        self._started = 0.0

    @contextmanager
    def phase(self, name: str, module: pl.LightningModule) -> Iterator[None]:
        """Count what happens inside as part of `name`."""
        started = _now(module)
        yield
        self.seconds[name] += _now(module) - started

    def restart(self, module: pl.LightningModule) -> None:
        """Begin a phase: what was before is counted elsewhere, or not at all."""
        self._started = _now(module)

    def stop(self, name: str, module: pl.LightningModule) -> None:
        """Add to `name` the time since the last start, and begin another phase."""
        now = _now(module)
        self.seconds[name] += now - self._started
        self._started = now

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Begin the training part of an epoch."""
        self.restart(pl_module)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """End the training part: the Trainer evaluates inside the epoch."""
        self.stop("train", pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """End the evaluation."""
        self.stop("eval", pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Seconds so far, for a checkpoint."""
        return {"seconds": dict(self.seconds)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from the seconds of a checkpoint."""
        self.seconds = dict(state_dict["seconds"])


def _now(module: pl.LightningModule) -> float:
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.perf_counter()
