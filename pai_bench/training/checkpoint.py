"""Checkpoints of unfinished trainings, so that an interrupt loses little.

Each is the Trainer's, with software and device (store/checkpoint_files.py says where it lies). The
next run of the bundle resumes from it, and ends with the same weights, masks and curves, bit by
bit, as a run without the interrupt.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from pai_bench.core import distributed, processes, xla
from pai_bench.core.files import atomic_write
from pai_bench.core.machine import MachineFault, machine_fault
from pai_bench.experiment.bundle import Bundle
from pai_bench.store import checkpoint_files
from pai_bench.store.integrity import check_archive
from pai_bench.store.result import Result
from pai_bench.training.checkpoint_state import made_with, random_states, restore_random

LOOK = 1.0
"""Seconds between two looks at the clock, where several devices train one network."""
_KEY = "TrainingCheckpoint"


class Halt(Exception):
    """A training is to stop without a result; nothing has failed."""


class OutOfTime(Halt):
    """The time budget of a run is spent, or a queue wants its machine back; a checkpoint has been
    written."""


class LeaseLost(Halt):
    """Another process has taken over what is trained; nothing is to be written."""


IsLost = Callable[[bool], bool]
"""Tells whether another process has taken over what is trained: as of now, or of the last beat."""


def never(_now: bool) -> bool:
    """Say no: nothing has been taken over."""
    return False


class TrainingCheckpoint(Checkpoint):
    """Writes checkpoints of a bundle's training; restores the state that the Trainer does not.

    Lightning runs a `Checkpoint` after all other callbacks, when their part of a batch is done.

    Args:
        runs: Folder of results.
        bundle: What is trained.
        device: Name of the device; a checkpoint of another one is not resumed.
        plugins: Files with methods, networks or data sets of one's own.
        deadline: Time (of `time.time`) after which a last checkpoint is written, and the training
            stops.
        is_lost: Whether another process has taken over what is trained.
    """

    every = 120.0
    """Seconds of training between two checkpoints."""

    def __init__(
        self,
        runs: Path,
        bundle: Bundle,
        device: str,
        plugins: Sequence[Path] = (),
        deadline: float = math.inf,
        is_lost: IsLost = never,
    ) -> None:
        self._deadline, self._is_lost = deadline, is_lost
        self._runs, self._bundle = runs, bundle
        self._path = checkpoint_files.path(runs, bundle)
        self._made_with = made_with(device, plugins)
        self._began = self._last = time.monotonic()
        self._random: list[Tensor] = []
        self._states: list[list[Tensor]] = []
        self._next_look, self._looked_at = 0, (0, time.monotonic())
        self._xla_random: int | None = None
        self.seconds = self._data_seconds = 0.0
        """Spent by earlier runs of the bundle, up to the checkpoint that this one resumes from."""
        self.times = 0
        """Number of times that the training was resumed."""

    @property
    def state_key(self) -> str:
        """Key of this callback's state in a checkpoint."""
        return _KEY

    def join(self, trainer: pl.Trainer) -> Path | None:
        """Add this callback to a Trainer; return the checkpoint to resume from, if there is one."""
        trainer.callbacks.append(self)  # type: ignore[attr-defined]
        path = distributed.of_first(None if distributed.rank() else self._checkpoint())
        seen = distributed.gathered(path is None or path.is_file())
        if not all(seen):
            raise MachineFault(
                f"{path} is not there for device {seen.index(False)}: all nodes need the same "
                "folder of results (--runs)"
            )
        return path

    def noted(self, result: Result) -> Result:
        """Add to a result the number of resumptions, if there were any."""
        if not self.times:
            return result
        return replace(result, environment={**result.environment, "resumed": self.times})

    def _checkpoint(self) -> Path | None:
        """Find the checkpoint to resume from; one that is damaged, or of other software or another
        device, is removed."""
        try:
            check_archive(self._path)
            checkpoint = torch.load(self._path, map_location="cpu", weights_only=True, mmap=True)
            if checkpoint["callbacks"][_KEY]["made_with"] == self._made_with:
                return self._path
        except FileNotFoundError:
            return None
        except Exception as error:  # torch.load documents none for incomplete files
            if fault := machine_fault(error):
                raise fault from error
        self._path.unlink()
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is saved beside the Trainer's own."""
        return {
            "made_with": self._made_with,
            "random": self._states,
            "xla_random": xla.random_state(),
            "seconds": self.seconds + time.monotonic() - self._began,
            "times": self.times,
            "data_seconds": self._data_seconds,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state that was saved."""
        self.seconds, self.times = state_dict["seconds"], state_dict["times"] + 1
        self._data_seconds, states = state_dict["data_seconds"], state_dict["random"]
        self._random = states[distributed.rank()] if distributed.rank() < len(states) else []
        self._xla_random = state_dict["xla_random"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the seconds that earlier runs spent on loading batches."""
        trainer.datamodule.seconds += self._data_seconds  # type: ignore[attr-defined]
        self._last = time.monotonic()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore the global random state, once: setting up the training may have drawn from it."""
        if self._random:
            restore_random(self._random)
            xla.restore(self._xla_random)
            self._random = []

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write a checkpoint when one is due; not after the last batch of an epoch, whose
        evaluation is still to come. A training whose epochs are one batch each has none.

        Raises:
            OutOfTime: The deadline has passed, or the process was asked to end.
            LeaseLost: Another process trains the bundle by now.
        """
        is_over, is_due = self._looked(trainer.global_step)
        if self._is_lost(is_due):
            raise LeaseLost
        if is_over and trainer.num_training_batches == 1:
            raise OutOfTime
        if not is_due or trainer.is_last_batch:
            return
        if distributed.ranks() > 1:
            pl_module.collect()
        self._states = distributed.gathered(random_states())
        pl_module.phase_timer.stop("train", pl_module)
        self._data_seconds = trainer.datamodule.seconds  # type: ignore[attr-defined]
        self._write(trainer)
        self._last = time.monotonic()
        if is_over:
            raise OutOfTime

    def _looked(self, step: int) -> tuple[bool, bool]:
        """Whether the time is over, and whether a checkpoint is due.

        Where several ranks train the network they agree on it about once a second, not in every
        step: it is over for all where it is for one, else the clock of the first counts.
        """
        if step < self._next_look:
            return False, False
        now = time.monotonic()
        pace = (step - self._looked_at[0]) / max(1e-6, now - self._looked_at[1])
        ahead = max(1, int(pace * LOOK)) if distributed.ranks() > 1 else 1
        is_over = time.time() >= self._deadline or processes.is_asked_to_end()
        looks = distributed.gathered((is_over, now - self._last >= self.every, step + ahead))
        is_over = any(over for over, *_ in looks)
        _, is_due, self._next_look = looks[0]
        self._looked_at = step, now
        return is_over, is_over or is_due

    def _write(self, trainer: pl.Trainer) -> None:
        """Write a checkpoint atomically; where the disk is full, training continues without.

        Only the first rank does, the others wait.
        """
        # RuntimeError is how torch says that it cannot write.
        with contextlib.suppress(OSError, RuntimeError):
            if distributed.rank() == 0:
                with atomic_write(self._path, sync=True) as beside:
                    _save(trainer, beside)
                    checkpoint_files.note_cells(self._runs, self._bundle)
        distributed.wait_for_all()


def _save(trainer: pl.Trainer, beside: Path) -> None:
    """Save a checkpoint from this rank alone: in the Trainer's method all wait for each other, for
    ever where writing has failed."""
    if distributed.ranks() == 1:
        return trainer.save_checkpoint(beside)
    checkpoint = trainer._checkpoint_connector.dump_checkpoint()
    return trainer.strategy.save_checkpoint(checkpoint, beside)
