"""What would decide claims: list it, cheapest first, or run it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from rich.table import Table
from rich.text import Text

from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.next_runs import NextRun, NextRuns, within
from pai_bench.claims.parser import of_papers
from pai_bench.cli.asked import hardware_asked
from pai_bench.cli.context import Arguments, Context, say
from pai_bench.cli.plan import print_searches, searching_longer
from pai_bench.cli.run import run_cells
from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import Hardware, gpus_of
from pai_bench.core.tables import print_fitting
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import CORE, GPU, estimate_cost
from pai_bench.launch.display import duration
from pai_bench.launch.request import RunRequest
from pai_bench.launch.speed import MeasuredSpeed, measured_speed


def show_next(context: Context, paper: str | None) -> int:
    """Print what to run for claims without a verdict; return the exit code."""
    hardware = Hardware("auto", "auto", "auto")
    speed = _speed(context, hardware)
    found, jobs = _next_runs(context, paper, hardware, 0, speed)
    table = Table(title=f"to decide claims, on {jobs} workers here", title_justify="left")
    for heading in ("claims", "suite", "method", "density", "cells", "time", "in all"):
        if heading in ("suite", "method"):
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=heading != "density")
    spent = 0.0
    for run in found:
        spent += run.seconds
        cells = [cell for of_suite in run.cells.values() for cell in of_suite]
        lines = dict.fromkeys(cell.label for cell in cells)
        densities = dict.fromkeys(f"{cell.density:.4g}" for cell in cells)
        more = "over " if searching_longer(context, cells, speed) else ""
        table.add_row(
            str(len(run.claims)), *map(Text, ("\n".join(run.cells), "\n".join(lines))),
            " ".join(densities), str(len(cells)), more + duration(run.seconds), duration(spent),
        )  # fmt: skip
    print_fitting(context.console, table, ("in all", "density"))
    of_all = [cell for run in found for cells in run.cells.values() for cell in cells]
    print_searches(context, of_all, speed)
    say(context, "run them", f"pai-bench run --claims{' ' * bool(paper)}{paper or ''} --budget 1h")
    return 0


def run_claims(context: Context, parsed: Arguments) -> int:
    """Run what decides claims, as much of it as fits into the budget; return the exit code."""
    deadline, failed = time.time() + parsed.budget, 0
    paper = parsed.claims if parsed.claims != "all" else None
    hardware = hardware_asked(parsed)
    found, _ = _next_runs(context, paper, hardware, parsed.jobs, _speed(context, hardware))
    if not found:
        say(context, "claims", "nothing to run: what is undecided needs no cells, or too many")
    for suite, cells in within(found, parsed.budget).items():
        left = deadline - time.time()
        if left <= 0:
            say(context, "budget", f"spent before {suite}: the same command goes on")
            break
        of_suite = replace(context, settings=with_overrides(context.settings, suite))
        left_to_it = parsed if math.isinf(left) else _with_budget(parsed, left)
        failed |= run_cells(of_suite, left_to_it, suite, cells, suite)
    return failed


def _with_budget(parsed: Arguments, seconds: float) -> Arguments:
    return Arguments(**{**vars(parsed), "budget": seconds})


def _speed(context: Context, hardware: Hardware) -> MeasuredSpeed | None:
    return measured_speed(context.judged, context.settings, bool(gpus_of(hardware)))


def _next_runs(
    context: Context, paper: str | None, hardware: Hardware, asked: int, speed: MeasuredSpeed | None
) -> tuple[Sequence[NextRun], int]:
    """What to run, and the number of workers that its times are for."""
    from pai_bench.launch.run import number_of_jobs

    settings = context.settings
    assumed = GPU if gpus_of(hardware) else CORE
    jobs = number_of_jobs(RunRequest("", (), settings, context.runs, hardware), asked)

    def seconds(cells: Sequence[Cell], of_suite: Benchmark) -> float:
        return estimate_cost(cells, of_suite, speed, jobs, assumed).seconds

    measured = ResultLookup(settings, context.methods, context.judged)
    runs = NextRuns(settings, context.methods, measured, seconds)
    return runs.of(of_papers(paper)), jobs
