"""What is asked of a launcher."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell


@dataclass(frozen=True)
class RunRequest:
    """The bundles to run, and all that running and storing them takes; it can be pickled.

    Workers may be started by anybody and anywhere: they take environment and command line from
    here, not from the process that happens to start them.
    """

    suite: str
    bundles: tuple[Bundle, ...]
    settings: Benchmark
    runs: Path
    hardware: Hardware
    plugins: tuple[Path, ...] = ()
    command: str = field(default_factory=environment.command_line)
    """The command line that results name."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of all bundles."""
        return tuple(cell for bundle in self.bundles for cell in bundle)
