"""Run suites and papers, or say what that would take. Planning imports no torch."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table
from rich.text import Text

from pai_bench.cli.context import Arguments, Context, say
from pai_bench.cli.publish import publish_suite
from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware, check_devices, gpus_of
from pai_bench.core.tables import print_fitting
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import bundles
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import CORE, GPU, estimate_cost
from pai_bench.experiment.grid import Selection
from pai_bench.launch.display import duration
from pai_bench.launch.request import RunRequest
from pai_bench.launch.speed import MeasuredSpeed, measured_speed
from pai_bench.store.store import Store


def reproduce(context: Context, parsed: Arguments) -> int:
    """Run a paper's suite against every baseline, show the leaderboard, say what comes next."""
    context, suite, selection = _of_paper(context, parsed, parsed.suite)
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


def changed(context: Context, parsed: Arguments, suite: str) -> tuple[Context, str]:
    """Apply the changes in the name of a suite, and those asked for by options."""
    name = "+".join([suite, *parsed.changes])
    settings = with_overrides(context.settings, name)
    return replace(context, settings=settings), name


def _of_paper(context: Context, parsed: Arguments, short: str) -> tuple[Context, str, Selection]:
    """Find the suite of a paper, changed as asked, and the methods to run in it."""
    base, *changes = short.split("+")
    suite, selection = grid.suite_of_paper(context.settings, parsed.paper, base)
    context, suite = changed(context, parsed, "+".join([suite, *changes]))
    return context, suite, selection_of(context, parsed, of_paper=selection)


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
    request = replace(_run_request(context, parsed, suite, cells), deadline=deadline)
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


def _run_request(
    context: Context, parsed: Arguments, suite: str, cells: Sequence[Cell]
) -> RunRequest:
    check_devices(hardware_asked(parsed))
    work = tuple(bundles(cells))
    return RunRequest(
        suite, work, context.settings, context.runs, hardware_asked(parsed), context.plugins
    )


def hardware_asked(parsed: Arguments) -> Hardware:
    """What the options of a command ask for."""
    return Hardware(
        parsed.accelerator, parsed.devices, parsed.strategy, parsed.accumulate, parsed.nodes
    )


def plan(context: Context, parsed: Arguments) -> int:
    """Show what a suite would run and what that would cost; train nothing."""
    selection = selection_of(context, parsed)
    suites = list(context.settings.suites)
    if parsed.paper:
        context, suite, selection = _of_paper(context, parsed, parsed.suite or "quick")
        suites = [suite]
    elif parsed.suite:
        context, suite = changed(context, parsed, parsed.suite)
        suites = [suite]
    if parsed.gpus:
        from pai_bench.cli.simulate import simulate

        return simulate(
            context, parsed, suites if parsed.suite or parsed.paper else _of_papers(context)
        )
    gpu = bool(gpus_of(hardware_asked(parsed)))
    speed = measured_speed([context.runs], context.settings, gpu)
    if not (parsed.suite or parsed.paper):
        _print_suites(context, selection, parsed, speed)
        return 0
    for name in suites:
        _print_plan(context, name, selection, parsed, speed)
    return 0


def _print_suites(
    context: Context, selection: Selection, parsed: Arguments, speed: MeasuredSpeed | None
) -> None:
    """Print one line for each suite."""
    from pai_bench.launch import run

    assumed = GPU if gpus_of(hardware_asked(parsed)) else CORE
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("suite", "network", "data"):
        table.add_column(heading, no_wrap=True)
    for heading in ("cells", "done", "time left"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, suite in context.settings.suites.items():
        cells = grid.cells(context.settings, context.methods, name, selection)
        todo = _unfinished(Store(context.runs, name), cells)
        jobs = run.number_of_jobs(_run_request(context, parsed, name, cells), parsed.jobs)
        left = duration(estimate_cost(todo, context.settings, speed, jobs, assumed).seconds)
        counts = str(len(cells)), str(len(cells) - len(todo)), left if todo else ""
        table.add_row(name, suite.network, suite.data, *counts)
    print_fitting(context.console, table, ("data", "network"))
    say(context, "one", "pai-bench plan SUITE")


def _of_papers(context: Context) -> list[str]:
    papers = context.settings.papers.values()
    return list(dict.fromkeys(suite for paper in papers for suite in paper.suites.values()))


def _print_plan(
    context: Context,
    suite: str,
    selection: Selection,
    parsed: Arguments,
    speed: MeasuredSpeed | None,
) -> None:
    from pai_bench.launch import run

    cells = grid.cells(context.settings, context.methods, suite, selection)
    todo = _unfinished(Store(context.runs, suite), cells)
    unfinished = {cell.id for cell in todo}
    jobs = run.number_of_jobs(_run_request(context, parsed, suite, cells), parsed.jobs)
    assumed = GPU if gpus_of(hardware_asked(parsed)) else CORE
    estimated = estimate_cost(todo, context.settings, speed, jobs, assumed)
    table = Table(title=f"{suite}: {context.settings.suites[suite].about}", title_justify="left")
    for heading in ("method", "densities", "seeds", "cells", "done"):
        table.add_column(heading)
    by_line: dict[str, list[Cell]] = {}
    for cell in cells:
        by_line.setdefault(cell.label, []).append(cell)
    for line, of_line in by_line.items():
        densities = ", ".join(f"{d:.4g}" for d in dict.fromkeys(c.density for c in of_line))
        seeds = ", ".join(str(s) for s in dict.fromkeys(c.seed for c in of_line))
        done = sum(cell.id not in unfinished for cell in of_line)
        table.add_row(Text(line), densities, seeds, str(len(of_line)), str(done))
    context.console.print(table)
    context.console.print(
        f"{len(todo)} of {len(cells)} cells to run · {estimated.flops:.2g} dense training FLOPs · "
        f"about {duration(estimated.seconds)} with {jobs} workers (as fast as {estimated.basis})",
        highlight=False,
    )
    print_searches(context, todo, speed)


def _unfinished(store: Store, cells: Sequence[Cell]) -> list[Cell]:
    """The cells without a result here, and without a finished one in another suite."""
    statuses, elsewhere = store.statuses(cells), store.ids_elsewhere()
    missing = [cell for cell in cells if statuses[cell.id] is None]
    return [c for c in missing if c.id not in elsewhere or store.elsewhere(c) is None]


def print_searches(context: Context, cells: Sequence[Cell], speed: MeasuredSpeed | None) -> None:
    """Say which methods take longer than estimated: they train before they prune."""
    searching = searching_longer(context, cells, speed)
    if searching:
        context.console.print(f"more than that: the searches of {', '.join(searching)} train too")


def searching_longer(
    context: Context, cells: Sequence[Cell], speed: MeasuredSpeed | None
) -> list[str]:
    """Methods that train before they prune, for a time that is not known on these networks."""
    searching = (cell for cell in cells if context.methods[cell.method].trains_to_score)
    return sorted({cell.method for cell in searching if not (speed and speed.is_measured(cell))})


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


def selection_of(
    context: Context, parsed: Arguments, of_paper: Selection | None = None
) -> Selection:
    """What was asked for; the methods of plugin files run beside those of the suite."""
    of_files = {str(path) for path in context.plugins}
    more = tuple(n for n, info in context.methods.items() if info.module in of_files)
    methods = parsed.methods or (of_paper.methods + more if of_paper else ())
    filters = parsed.densities, parsed.seeds, parsed.precision, parsed.sanity_checks
    return Selection(methods, *filters, more)
