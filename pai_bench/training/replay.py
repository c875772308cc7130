"""Programs of a paper's authors, run again on their own inputs, and results of that."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pai_bench.config.schema import Benchmark
from pai_bench.core import environment, import_utils
from pai_bench.core.errors import BenchError, unknown
from pai_bench.data import sources
from pai_bench.data.locations import redact_source
from pai_bench.data.sources import Arrays
from pai_bench.store.replayed import Replica
from pai_bench.store.result import Result
from pai_bench.training.checkpoint_state import made_with
from pai_bench.training.search_checkpoint import SearchCheckpoint
from pai_bench.training.setup import set_process

Values = Mapping[str, Mapping[str, float]]
"""By column of the claims (a number of steps), then by metric."""
OnStep = Callable[[int], None]
"""Called with the number of steps that are done."""


@dataclass(frozen=True)
class Program:
    """A program whose printed values can be had again, run by run.

    Replicas of a run differ by noise as small as the rounding of its numbers: their spread says
    how far a printed value is determined by the inputs at all.
    """

    data: str
    runs: int
    """Runs that the authors printed, each with inputs of its own."""
    steps: int
    """Length of each."""
    hyper: Mapping[str, Any]
    """What is kept with a result beside its length."""
    version: int
    """Raised with any change of what comes out."""
    replay: Callable[[Arrays, Replica, int, SearchCheckpoint, OnStep], Values]
    """Called with the data, the replica and the number of steps. It resumes."""

    def covers(self, result: Result, steps: int) -> bool:
        """Tell whether an earlier result is of this version, and at least as long."""
        hyper = result.hyper
        return hyper.get("version") == self.version and hyper.get("steps", 0) >= steps


def programs(folder: Path) -> Mapping[str, Program]:
    """Find the programs of a paper, by name: `PROGRAMS` in the `replay.py` of its folder.

    Args:
        folder: The paper's folder.

    Raises:
        BenchError: The paper has none.
    """
    path = folder / "replay.py"
    if not path.is_file():
        raise BenchError(f"{folder.name}: no program to replay; {path.name} would hold it")
    module = import_utils.load(f"pai_bench.reproductions.{folder.name}.replay")
    found: Mapping[str, Program] = sys.modules[module].PROGRAMS
    return found


def program_of(known: Mapping[str, Program], name: str) -> Program:
    """Find a program by name. Raises BenchError for an unknown one."""
    if name not in known:
        raise unknown("program to replay", name, known)
    return known[name]


def replayed(
    program: Program,
    replica: Replica,
    steps: int,
    settings: Benchmark,
    path: Path,
    on_step: OnStep = lambda _step: None,
) -> Result:
    """Run one replica of a program, or go on with it.

    Args:
        program: The program.
        replica: Which of the authors' runs, and which noise.
        steps: Where to stop, which is at the program's length at the latest.
        settings: Data sets, whose digests are checked.
        path: The replica's checkpoint; it stays until the program's length is reached.
        on_step: Callback after each step.

    Returns:
        A result with the status `replayed`.
    """
    arrays = sources.load(program.data, settings.data[program.data], settings.mirror)
    set_process(settings)
    start, length = time.perf_counter(), min(steps, program.steps)
    checkpoint = SearchCheckpoint({**made_with("cpu", ()), "version": program.version})
    with checkpoint.at(path):
        values = program.replay(arrays, replica, length, checkpoint, on_step)
        checkpoint.write()
    if length == program.steps:
        path.unlink(missing_ok=True)
    software = environment.describe("cpu", torch.get_num_threads())
    source = {"source": redact_source(arrays.source), "digest": arrays.digest}
    seconds = checkpoint.earlier_seconds + time.perf_counter() - start
    return Result(
        "replayed",
        replayed={column: dict(of_column) for column, of_column in values.items()},
        seconds={"total": seconds},
        hyper={"steps": length, "version": program.version, **program.hyper},
        environment={**software, "data": source},
    )
