"""The request that a launcher runs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.store.lease_entry import Entry
from pai_bench.store.stored_result import State


@dataclass(frozen=True)
class RunRequest:
    """The bundles to run, with all settings for running and storing them; it can be pickled.

    Workers take environment and command line from here, not from the process that starts them,
    which may be another program on another machine.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"ser_json_inf_nan": "constants"}

    suite: str
    bundles: tuple[Bundle, ...]
    settings: Benchmark
    runs: Path
    hardware: Hardware
    plugins: tuple[Path, ...] = ()
    stacked: bool = False
    """Whether the networks of a bundle become one stack (training/together/)."""
    deadline: float = math.inf
    """Time (of `time.time`) at which trainings stop, each with a checkpoint."""
    dead: Mapping[str, Entry] = field(default_factory=dict)
    """By id of the cell: entries of leases whose holders have been seen to be dead."""
    failed: Mapping[str, State] = field(default_factory=dict)
    """By id of the cell: states of the failed results that are to be run again."""
    command: str = field(default_factory=environment.command_line)
    """Command line that is recorded in results."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of all bundles."""
        return tuple(cell for bundle in self.bundles for cell in bundle)
