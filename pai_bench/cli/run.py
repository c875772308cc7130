"""Run suites and papers."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pai_bench.cli.asked import changed, hardware_asked, of_paper, run_request, selection_of
from pai_bench.cli.context import Arguments, Context
from pai_bench.cli.publish import publish_suite
from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import gpus_of
from pai_bench.experiment import grid
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import CORE, GPU, estimate_cost
from pai_bench.experiment.grid import Selection
from pai_bench.launch.display import duration
from pai_bench.launch.speed import measured_speed
from pai_bench.store.store import Store


def reproduce(context: Context, parsed: Arguments) -> int:
    """Run a paper's suite against every baseline, show the leaderboard, say what comes next."""
    context, suite, selection = of_paper(context, parsed, parsed.suite)
    title = f"{parsed.paper} · {suite}"
    return run_suite(context, parsed, suite, selection, title, paper=parsed.paper)


def run(context: Context, parsed: Arguments) -> int:
    """Run a suite, all its methods or those that were named; or what decides claims."""
    if bool(parsed.suite) == bool(parsed.claims):
        raise BenchError("name a suite, or say --claims; `pai-bench claims --next` lists what")
    if parsed.claims:
        from pai_bench.cli.next_runs import run_claims

        return run_claims(context, parsed)
    context, suite = changed(context, parsed, parsed.suite)
    return run_suite(context, parsed, suite, selection_of(context, parsed), suite)


def run_suite(
    context: Context,
    parsed: Arguments,
    suite: str,
    selection: Selection,
    title: str,
    paper: str | None = None,
) -> int:
    """Run a selection of a suite, and show what came out; return the exit code."""
    cells = grid.cells(context.settings, context.methods, suite, selection)
    if parsed.budget < math.inf:
        cells = _by_priority(context, suite, cells)
    return run_cells(context, parsed, suite, cells, title, paper)


def run_cells(
    context: Context,
    parsed: Arguments,
    suite: str,
    cells: Sequence[Cell],
    title: str,
    paper: str | None = None,
) -> int:
    """Run cells of a suite in their order, and show what came out; return the exit code."""
    from pai_bench.launch import run
    from pai_bench.leaderboard.publish import WANDB_FOLDER
    from pai_bench.leaderboard.wandb.live import LiveRuns

    deadline = time.time() + parsed.budget
    _check_network(context.settings, suite)
    request = replace(run_request(context, parsed, suite, cells), deadline=deadline)
    jobs = run.number_of_jobs(request, parsed.jobs, parsed.launcher)
    context.console.print(f"{title}: {len(cells)} cells, {jobs} side by side", highlight=False)
    stack = parsed.stack or context.settings.stack
    mode = parsed.wandb or os.environ.get("WANDB_MODE") or context.settings.wandb.mode
    with LiveRuns(request, WANDB_FOLDER, mode) as live:
        tally = run.run(
            request, jobs, context.console, parsed.retry_failed, parsed.launcher, stack, live.update
        )
    summary = [("cells", _tally_line(tally))]
    if paper is not None:
        summary.append(("paper", _protocol_line(context, parsed, paper, jobs)))
        summary.append(("claims", f"pai-bench claims {paper} · to cite it: --bibtex"))
    publish_suite(context, suite, title, mode, cells, summary, live.wait)
    return 1 if tally.failed else 0


def _by_priority(context: Context, suite: str, cells: Sequence[Cell]) -> list[Cell]:
    from pai_bench.claims.lookup import ResultLookup
    from pai_bench.claims.parser import available
    from pai_bench.claims.priority import by_priority

    measured = ResultLookup(context.settings, context.methods, context.judged)
    return by_priority(cells, suite, available().values(), measured)


def _check_network(settings: Benchmark, suite: str) -> None:
    """Build a network of one's own once before any cell runs: what is wrong with it stops here."""
    name, data = settings.suites[suite].network, settings.data[settings.suites[suite].data]
    if ":" in name:
        from pai_bench import networks

        networks.build(settings.networks[name], data.shape, data.classes)


def _tally_line(tally: Any) -> str:
    failed = f"; {tally.failed} failed (again with --retry-failed)" if tally.failed else ""
    copied = f" ({tally.copied} of them in other suites)" if tally.copied else ""
    ran = f"{tally.ran} run in {duration(tally.seconds)}"
    left = f", {tally.left} left: the same command goes on" if tally.left else ""
    others = f", {tally.by_others} by other processes" if tally.by_others else ""
    return f"{ran}{others}, {tally.stored} found done{copied}{left}{failed}"


def _protocol_line(context: Context, parsed: Arguments, paper: str, jobs: int) -> str:
    short = context.settings.papers[paper].protocol
    suite, selection = grid.suite_of_paper(context.settings, paper, short)
    cells = grid.cells(context.settings, context.methods, suite, selection)
    todo = [cell for cell in cells if Store(context.runs, suite).status(cell) is None]
    gpu = bool(gpus_of(hardware_asked(parsed)))
    speed = measured_speed([context.runs], context.settings, gpu)
    estimated = estimate_cost(todo, context.settings, speed, jobs, GPU if gpu else CORE)
    return (
        f"the paper's own grid: make reproduce PAPER={paper} SUITE={short} ({len(todo)} cells to "
        f"run, about {duration(estimated.seconds)} here on the {'GPU' if gpu else 'CPU'})"
    )
