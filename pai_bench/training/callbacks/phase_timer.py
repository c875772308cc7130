"""Wall-clock seconds by phase: `score` (choosing masks), `train` and `eval`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch

from pai_bench.core import xla


class PhaseTimer(pl.Callback):
    """Sums the seconds of each phase; it synchronises with a device only at their ends."""

    def __init__(self) -> None:
        self.seconds = {"score": 0.0, "train": 0.0, "eval": 0.0}
        self._started = 0.0

    @contextmanager
    def phase(self, name: str, module: pl.LightningModule) -> Iterator[None]:
        """Add the time of a `with` block to phase `name`."""
        started = _now(module)
        yield
        self.seconds[name] += _now(module) - started

    def restart(self, module: pl.LightningModule) -> None:
        """Start timing a phase, without adding the time before to any."""
        self._started = _now(module)

    def stop(self, name: str, module: pl.LightningModule) -> None:
        """Add the time since the last start to phase `name`, and start timing the next."""
        now = _now(module)
        self.seconds[name] += now - self._started
        self._started = now

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Start timing the training of an epoch."""
        self.restart(pl_module)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Stop timing training: the Trainer validates before the epoch ends."""
        self.stop("train", pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Stop timing evaluation."""
        self.stop("eval", pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds so far, for a checkpoint."""
        return {"seconds": dict(self.seconds)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the seconds of a checkpoint."""
        self.seconds = dict(state_dict["seconds"])


def _now(module: pl.LightningModule) -> float:
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    xla.synchronize(module.device)
    return time.perf_counter()
