"""What is asked of a launcher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.cell import Cell


@dataclass(frozen=True)
class RunRequest:
    """The cells to run, and all that running and storing them takes; it can be pickled."""

    suite: str
    cells: tuple[Cell, ...]
    settings: Benchmark
    runs: Path
    hardware: Hardware
    plugins: tuple[Path, ...] = ()
