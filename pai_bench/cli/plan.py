"""Say what running a suite would take. Planning imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from pai_bench.cli.asked import changed, hardware_asked, of_paper, run_request, selection_of
from pai_bench.cli.context import Arguments, Context, say
from pai_bench.core.hardware import gpus_of
from pai_bench.core.tables import print_fitting
from pai_bench.experiment import grid
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import CORE, GPU, estimate_cost
from pai_bench.experiment.grid import Selection
from pai_bench.launch.display import duration
from pai_bench.launch.speed import MeasuredSpeed, measured_speed
from pai_bench.store.store import Store


def plan(context: Context, parsed: Arguments) -> int:
    """Show what a suite would run and what that would cost; train nothing."""
    selection = selection_of(context, parsed)
    suites = list(context.settings.suites)
    if parsed.paper:
        context, suite, selection = of_paper(context, parsed, parsed.suite or "quick")
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
        jobs = run.number_of_jobs(run_request(context, parsed, name, cells), parsed.jobs)
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
    jobs = run.number_of_jobs(run_request(context, parsed, suite, cells), parsed.jobs)
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
