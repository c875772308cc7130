"""What running costs beside training: scheduling a cell, planning ten thousand."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from pai_bench.bench import stored
from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import Hardware
from pai_bench.core.project import SETTINGS
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import bundles
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.grid import Selection
from pai_bench.launch import run
from pai_bench.launch.request import RunRequest
from pai_bench.registry import methods as registry
from pai_bench.store.store import Store

SCHEDULED = 40
SCHEDULING = 0.05
"""Seconds that a cell may take beside its training."""
DENSITIES = 50
"""Of so many the suite has ten thousand cells, with ten seeds."""
PLANNING, MEMORY = 2.0, 500.0
"""Seconds and MB that a plan of ten thousand cells may take."""


def measure(console: Console, settings: Benchmark) -> None:
    """Print what a cell, a plan and a list cost, beside the goals."""
    scheduling = _scheduling(settings)
    console.print(
        f"A cell on one worker takes {1e3 * scheduling:.0f} ms beside its training "
        f"({_against_goal(scheduling, SCHEDULING, '50 ms')})",
        highlight=False,
    )
    cells, seconds, memory = _planning()
    goals = _against_goal(max(seconds / PLANNING, memory / MEMORY), 1.0, "2 s and 500 MB")
    console.print(
        f"`pai-bench plan` of {cells:,} cells: {seconds:.2f} s, {memory:.0f} MB ({goals})",
        highlight=False,
    )


def _against_goal(value: float, goal: float, named: str) -> str:
    return f"goal: below {named}, {'met' if value < goal else 'not met'}"


def _scheduling(settings: Benchmark) -> float:
    """Seconds from one result to the next, less those that the training took."""
    with tempfile.TemporaryDirectory() as folder:
        work = tuple(bundles(_short_cells(settings)))
        request = RunRequest("quick", work, settings, Path(folder), Hardware("cpu", "1"))
        run.run(request, 1, Console(file=io.StringIO()), stack="off")
        entries = Store(Path(folder), "quick").entries()
        stored_at = sorted((entry.folder / "result.json").stat().st_mtime for entry in entries)
        trained = sum(entry.result.seconds["total"] for entry in entries) / len(entries)
    return (stored_at[-1] - stored_at[0]) / (len(entries) - 1) - trained


def _short_cells(settings: Benchmark) -> Sequence[Cell]:
    seeds = tuple(range(1, SCHEDULED // 4 + 1))
    selection = Selection(("snip",), (0.5, 0.2, 0.1, 0.05), seeds)
    cells = [c for c in grid.cells(settings, registry.available(), "quick", selection)
             if c.density < 1]  # fmt: skip
    recipe = cells[0].recipe.model_copy(update={"epochs": 1, "milestones": ()})
    return [replace(cell, recipe=recipe) for cell in cells]


def _planning() -> tuple[int, float, float]:
    """Cells, seconds and MB of a process that plans ten thousand, its start included."""
    densities = ",".join(f"{1 / (number + 1.5):.6f}" for number in range(DENSITIES))
    seeds = ",".join(map(str, stored.SEEDS))
    plan = ["plan", stored.SUITE, "--seeds", seeds, "--densities", densities]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *plan, "--config", str(SETTINGS)],
            cwd=folder, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        seconds = time.perf_counter() - started
    *shown, memory = done.stdout.splitlines()
    (cells,) = re.findall(r"^(\d+) of \d+ cells to run", "\n".join(shown), re.MULTILINE)
    return int(cells), seconds, float(memory)


_PROGRAM = """
from pai_bench.cli.main import main
from pai_bench.core.environment import peak_memory_mb
main()
print(peak_memory_mb() or 0)
"""
