"""Checkpoints of unfinished searches: a training before pruning can take as long as many others."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from pai_bench.core import processes
from pai_bench.core.files import atomic_write
from pai_bench.core.machine import machine_fault
from pai_bench.store.integrity import check_archive
from pai_bench.training.checkpoint import OutOfTime
from pai_bench.training.checkpoint_state import random_states, restore_random


class Part(Protocol):
    """Something that a search changes as it goes on: a network, an optimizer, a history."""

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors and plain data."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Go on from such a state."""


class SearchCheckpoint:
    """Writes what a search has reached; who needs the search next goes on from there.

    It ends with the same bits as without the interrupt. A search says what it is made of (`add`),
    and after each of its steps that it may be interrupted (`update`).

    Args:
        made_with: Software and device (`checkpoint_state.made_with`), of which a checkpoint must be
            to be resumed from; None: nothing is written.
        deadline: Time (of `time.time`) after which a last checkpoint is written, and the search
            stops.
    """

    every = 120.0
    """Seconds between two checkpoints."""

    def __init__(
        self, made_with: Mapping[str, Any] | None = None, deadline: float = math.inf
    ) -> None:
        self._made_with, self._deadline = made_with, deadline
        self._path: Path | None = None
        self._parts: dict[str, Part] = {}
        self._saved: dict[str, Any] = {}
        self._random: list[Tensor] = []
        self._began = self._last = 0.0
        self.earlier_seconds = 0.0
        """Spent on this search by earlier runs, up to the checkpoint."""

    @contextlib.contextmanager
    def at(self, path: Path) -> Iterator[None]:
        """Resume from, and write to, this file for a while."""
        if self._made_with is None:
            yield
            return
        content = self._read(path)
        self._path = path
        self._saved, self.earlier_seconds = content.get("parts", {}), content.get("seconds", 0.0)
        self._random = content.get("random", [])
        self._began = self._last = time.monotonic()
        try:
            yield
        finally:
            self._path, self._parts, self._saved = None, {}, {}

    def add(self, name: str, part: Part) -> None:
        """Save `part` from now on; of a search that resumes, restore it and the random state.

        What is added again under a name takes the place of what was there, and is not restored.
        """
        if self._path is None:
            return
        self._parts[name] = part
        if name in self._saved:
            part.load_state_dict(self._saved.pop(name))
            restore_random(self._random)

    def update(self) -> None:
        """Write a checkpoint when one is due.

        Raises:
            OutOfTime: The deadline has passed, or the process was asked to end.
        """
        if self._path is None:
            return
        is_over = time.time() >= self._deadline or processes.is_asked_to_end()
        if is_over or time.monotonic() - self._last >= self.every:
            self.write()
        if is_over:
            raise OutOfTime

    def write(self) -> None:
        """Write a checkpoint atomically; where the disk is full, the search continues without."""
        if self._path is None:
            return
        content = {
            "made_with": self._made_with,
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "random": random_states(),
            "seconds": self.earlier_seconds + time.monotonic() - self._began,
        }
        # RuntimeError is how torch says that it cannot write.
        with (
            contextlib.suppress(OSError, RuntimeError),
            atomic_write(self._path, sync=True) as beside,
        ):
            torch.save(content, beside)
        self._last = time.monotonic()

    def _read(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint; {} for none, or for one of other software, or not whole."""
        try:
            check_archive(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
            return dict(content) if content["made_with"] == self._made_with else {}
        except FileNotFoundError:
            return {}
        except Exception as error:  # torch.load documents none for incomplete files
            if fault := machine_fault(error):
                raise fault from error
            return {}
