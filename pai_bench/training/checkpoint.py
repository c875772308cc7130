"""Checkpoints of trainings that are under way, so that an interrupt loses little.

    runs/checkpoints/<bundle id>.ckpt     a checkpoint of the Trainer, and what it was made with

The next run of the bundle resumes from there, and ends as if it had never stopped: the same
weights, masks and curves, bit by bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from pai_bench.core import environment
from pai_bench.core.files import atomic_write
from pai_bench.experiment.bundle import Bundle
from pai_bench.store.result import Result

FOLDER = "checkpoints"
_KEY = "TrainingCheckpoint"


class TrainingCheckpoint(Checkpoint):
    """Writes checkpoints of one bundle's training, and restores what the Trainer does not.

    As a `Checkpoint` it comes last of all callbacks: the others have done their part of a batch.
    """

    every = 120.0
    """Seconds of training between two checkpoints: an interrupt loses no more than that."""

    def __init__(
        self, runs: Path, bundle: Bundle, device: str, plugins: Sequence[Path] = ()
    ) -> None:
        self._path = path(runs, bundle)
        known = environment.describe(device, torch.get_num_threads())
        del known["command"]
        self._made_with = {**known, "plugins": [_digest(path) for path in plugins]}
        self._began = self._last = time.monotonic()
        self._random: list[Tensor] = []
        self.seconds = self._data_seconds = 0.0
        """Of earlier runs of the bundle, up to the checkpoint that this one resumes from."""
        self.times = 0
        """How often the training was resumed."""

    @property
    def state_key(self) -> str:
        """Name of this callback's part of a checkpoint."""
        return _KEY

    def join(self, trainer: pl.Trainer) -> Path | None:
        """Take part in a training; return the checkpoint to resume from, if there is one."""
        trainer.callbacks.append(self)  # type: ignore[attr-defined]
        return self._checkpoint()

    def noted(self, result: Result) -> Result:
        """A result with the seconds of earlier runs in its total, and how often it was resumed."""
        total = result.seconds["total"] + self.seconds
        return replace(
            result,
            seconds={**result.seconds, "total": total},
            environment={**result.environment, "resumed": self.times},
        )

    def _checkpoint(self) -> Path | None:
        """The checkpoint that can be resumed from; one of other software or device is removed.

        A training that changed hands in its midst would be that of neither. Plugins are software: a
        file that is not what it was counts as another.
        """
        try:
            known = torch.load(self._path, map_location="cpu", weights_only=True, mmap=True)
            if known["callbacks"][_KEY]["made_with"] == self._made_with:
                return self._path
        except FileNotFoundError:
            return None
        except Exception:  # torch.load names no exceptions for files that are not whole
            pass
        self._path.unlink()
        return None

    def state_dict(self) -> dict[str, Any]:
        """What is kept beside the Trainer's own state."""
        return {
            "made_with": self._made_with,
            "random": _random_states(),
            "seconds": self.seconds + time.monotonic() - self._began,
            "times": self.times,
            "data_seconds": self._data_seconds,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take it back."""
        self.seconds, self.times = state_dict["seconds"], state_dict["times"] + 1
        self._data_seconds, self._random = state_dict["data_seconds"], state_dict["random"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Charge to this run what earlier ones spent on batches."""
        trainer.datamodule.seconds += self._data_seconds  # type: ignore[attr-defined]
        self._last = time.monotonic()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the global random state back, once: what came before may have drawn from it."""
        if self._random:
            _restore(self._random)
            self._random = []

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write a checkpoint when it is time; not after an epoch's last batch, which ends more."""
        if time.monotonic() - self._last < self.every or trainer.is_last_batch:
            return
        pl_module.phase_timer.stop("train", pl_module)
        self._data_seconds = trainer.datamodule.seconds  # type: ignore[attr-defined]
        self._write(trainer)
        self._last = time.monotonic()

    def _write(self, trainer: pl.Trainer) -> None:
        """Write a checkpoint whole or not at all; a full disk is no reason to end a training."""
        # RuntimeError is how torch says that it cannot write.
        with (
            contextlib.suppress(OSError, RuntimeError),
            atomic_write(self._path, sync=True) as beside,
        ):
            trainer.save_checkpoint(beside)


def path(runs: Path, bundle: Bundle) -> Path:
    """Where the checkpoint of a bundle lies while it is under way."""
    return runs / FOLDER / f"{bundle.id}.ckpt"


def discard(runs: Path, bundle: Bundle) -> None:
    """Remove the checkpoint of a bundle, also what was half written: its cells have results."""
    for file in (runs / FOLDER).glob(f"*{bundle.id}.*"):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (runs / FOLDER).rmdir()  # the last one leaves no empty folder


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _random_states() -> list[Tensor]:
    """Torch's global generators: of the CPU, and of each GPU."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return [torch.get_rng_state(), *gpus]


def _restore(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if states[1:]:
        torch.cuda.set_rng_state_all(states[1:])
