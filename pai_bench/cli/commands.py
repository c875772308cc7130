"""What each command does: call, then print. Commands that only list import no torch."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark, Data
from pai_bench.core import environment
from pai_bench.core.errors import BenchError, unknown
from pai_bench.core.hardware import Hardware
from pai_bench.data.locations import readiness
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import bundles
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import estimate_cost, ordinary_images
from pai_bench.experiment.grid import Selection
from pai_bench.launch.display import duration
from pai_bench.launch.request import RunRequest
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store.store import Store, find

Arguments = argparse.Namespace


@dataclass(frozen=True)
class Context:
    """What every command starts from."""

    console: Console
    settings: Benchmark
    methods: Mapping[str, MethodInfo]
    plugins: tuple[Path, ...]
    runs: Path
    named: tuple[Path, ...] = ()
    """Folders of results that were asked for by name."""

    @property
    def judged(self) -> list[Path]:
        """Folders that verdicts rest on: those that were named, or the kept evidence and `runs`."""
        from pai_bench.claims.lookup import evidence_folders

        return list(self.named) or [*evidence_folders(), self.runs]


def reproduce(context: Context, parsed: Arguments) -> int:
    """Run a paper's suite against every baseline, show the leaderboard, say what comes next."""
    context, suite, selection = _of_paper(context, parsed, parsed.suite)
    title = f"{parsed.paper} · {suite}"
    return _run_suite(context, parsed, suite, selection, title, paper=parsed.paper)


def run(context: Context, parsed: Arguments) -> int:
    """Run a suite, all its methods or those that were named."""
    context, suite = _changed(context, parsed, parsed.suite)
    return _run_suite(context, parsed, suite, _selection(context, parsed), suite)


def _changed(context: Context, parsed: Arguments, suite: str) -> tuple[Context, str]:
    """Apply the changes in the name of a suite, and those asked for by options."""
    name = "+".join([suite, *parsed.changes])
    settings = with_overrides(context.settings, name)
    return replace(context, settings=settings), name


def _of_paper(context: Context, parsed: Arguments, short: str) -> tuple[Context, str, Selection]:
    """Find the suite of a paper, changed as asked, and the methods to run in it."""
    base, *changes = short.split("+")
    suite, selection = grid.suite_of_paper(context.settings, parsed.paper, base)
    context, suite = _changed(context, parsed, "+".join([suite, *changes]))
    return context, suite, _selection(context, parsed, of_paper=selection)


def _run_suite(
    context: Context,
    parsed: Arguments,
    suite: str,
    selection: Selection,
    title: str,
    paper: str | None = None,
) -> int:
    from pai_bench.launch import run

    cells = grid.cells(context.settings, context.methods, suite, selection)
    _check_network(context.settings, suite)
    request = _run_request(context, parsed, suite, cells)
    jobs = parsed.jobs or run.default_jobs(request)
    context.console.print(f"{title}: {len(cells)} cells, {jobs} side by side", highlight=False)
    tally = run.run(request, jobs, context.console, parsed.retry_failed, parsed.launcher)
    mode = parsed.wandb or os.environ.get("WANDB_MODE") or context.settings.wandb.mode
    _publish(context, suite, title, mode, asked=cells)
    _say(context, "cells", _tally_line(tally))
    if paper is not None:
        _say(context, "paper", _protocol_line(context, paper, jobs))
        _say(context, "claims", f"pai-bench claims {paper} · to cite it: --bibtex")
    return 1 if tally.failed else 0


def _check_network(settings: Benchmark, suite: str) -> None:
    """Build a network of one's own once before any cell runs: what is wrong with it stops here."""
    name, data = settings.suites[suite].network, settings.data[settings.suites[suite].data]
    if ":" in name:
        from pai_bench import networks

        networks.build(settings.networks[name], data.shape, data.classes)


def _run_request(
    context: Context, parsed: Arguments, suite: str, cells: Sequence[Cell]
) -> RunRequest:
    if parsed.accelerator == "cpu" and parsed.devices not in ("auto", "1"):
        raise BenchError("--devices: a cell uses one CPU device; --jobs runs cells side by side")
    hardware = Hardware(parsed.accelerator, parsed.devices, parsed.strategy)
    work = tuple(bundles(cells))
    return RunRequest(suite, work, context.settings, context.runs, hardware, context.plugins)


def plan(context: Context, parsed: Arguments) -> int:
    """Show what a suite would run and what that would cost; train nothing."""
    from pai_bench.launch.speed import measured_speed

    selection = _selection(context, parsed)
    suites = list(context.settings.suites)
    if parsed.paper:
        context, suite, selection = _of_paper(context, parsed, parsed.suite or "quick")
        suites = [suite]
    elif parsed.suite:
        context, suite = _changed(context, parsed, parsed.suite)
        suites = [suite]
    speed = measured_speed(context.runs, context.settings)
    for name in suites:
        _print_plan(context, name, selection, parsed, speed)
    return 0


def _print_plan(
    context: Context, suite: str, selection: Selection, parsed: Arguments, speed: float | None
) -> None:
    from pai_bench.launch import run

    cells = grid.cells(context.settings, context.methods, suite, selection)
    store = Store(context.runs, suite)
    todo = [c for c in cells if store.status(c) is None and store.elsewhere(c) is None]
    left = {cell.id for cell in todo}
    jobs = parsed.jobs or run.default_jobs(_run_request(context, parsed, suite, cells))
    estimated = estimate_cost(todo, context.settings, speed, jobs)
    table = Table(title=f"{suite}: {context.settings.suites[suite].about}", title_justify="left")
    for heading in ("method", "densities", "seeds", "cells", "done"):
        table.add_column(heading)
    for line in dict.fromkeys(cell.label for cell in cells):
        of_line = [cell for cell in cells if cell.label == line]
        densities = ", ".join(f"{d:.4g}" for d in dict.fromkeys(c.density for c in of_line))
        seeds = ", ".join(str(s) for s in dict.fromkeys(c.seed for c in of_line))
        done = sum(cell.id not in left for cell in of_line)
        table.add_row(Text(line), densities, seeds, str(len(of_line)), str(done))
    context.console.print(table)
    context.console.print(
        f"{len(todo)} of {len(cells)} cells to run · {estimated.flops:.2g} dense training FLOPs · "
        f"about {duration(estimated.seconds)} with {jobs} workers (as fast as {estimated.basis})",
        highlight=False,
    )
    named = dict.fromkeys(cell.method for cell in todo)
    searching = [name for name in named if context.methods[name].trains_to_score]
    if searching:
        context.console.print(f"more than that: the searches of {', '.join(searching)} train too")


def leaderboard(context: Context, parsed: Arguments) -> int:
    """Rebuild the leaderboard of a suite from the store; `--wandb` rewrites all of its W&B runs."""
    suites = [parsed.suite] if parsed.suite else suites_with_results(context)
    shown = []
    for suite in suites:
        try:
            settings = with_overrides(context.settings, suite)
        except BenchError as error:
            if parsed.suite:
                raise
            print(f"pai-bench: left out: {error}", file=sys.stderr)
            continue
        _publish(replace(context, settings=settings), suite, suite, parsed.wandb or "disabled")
        shown.append(suite)
    if not parsed.suite:
        _publish_all(context, shown)
    return 0


def _publish_all(context: Context, suites: Sequence[str]) -> None:
    """Write one page of all suites into the folder of results."""
    from pai_bench.claims.lookup import ResultLookup
    from pai_bench.leaderboard.page import PageHeading, page
    from pai_bench.leaderboard.publish import write_page
    from pai_bench.leaderboard.stored import stored_board

    settings = context.settings
    for suite in suites:
        settings = with_overrides(settings, suite)
    boards = [stored_board(settings, context.methods, context.runs, s)[0] for s in suites]
    heading = PageHeading(
        title="PaI-Bench",
        about="All suites that have results, each with its own recipe: rows of two are no rivals.",
        command="pai-bench run SUITE",
        rebuild="pai-bench leaderboard",
    )
    measured = ResultLookup(settings, context.methods, context.judged)
    path = write_page(page(heading, boards, settings, context.methods, measured), context.runs)
    _say(context, "all", f"{path} (one file with all suites)")


def suites_with_results(context: Context) -> list[str]:
    """Name the suites of the folder of results. Raises BenchError where there is none."""
    names = [*context.settings.suites, *sorted(p.name for p in context.runs.glob("*+*"))]
    found = [name for name in names if Store(context.runs, name).ids()]
    if not found:
        raise BenchError(f"{context.runs}/ holds no results yet; `pai-bench run quick` makes some")
    return found


def _publish(
    context: Context, suite: str, title: str, wandb: Any, asked: Sequence[Cell] | None = None
) -> None:
    """Print the board of the `asked` cells; page and W&B hold the whole suite.

    With none asked for, all are printed, and W&B is written anew.
    """
    from pai_bench.claims.lookup import ResultLookup
    from pai_bench.leaderboard.board import board
    from pai_bench.leaderboard.page import PageHeading, page
    from pai_bench.leaderboard.publish import publish
    from pai_bench.leaderboard.stored import stored_board

    store, settings = Store(context.runs, suite), context.settings
    precision = asked[0].precision if asked else "32-true"
    whole, stale = stored_board(settings, context.methods, context.runs, suite, precision)
    heading = PageHeading(
        title=title,
        about=settings.suites[suite].about,
        command=environment.command_line() if asked else f"pai-bench run {suite}",
        rebuild=f"pai-bench leaderboard --suite {suite}",
    )
    of_papers = settings.methods_of_papers()
    shown = whole if asked is None else board(store, suite, asked, of_papers)
    measured = ResultLookup(settings, context.methods, context.judged)
    made = page(heading, [whole], settings, context.methods, measured)
    path, mirrored = publish(
        context.console, shown, whole, made, settings, store, wandb, asked is None
    )
    if stale:
        _say(context, "left out", f"{stale} stored cells of other versions or settings")
    _say(context, "page", f"{path} (one file; open it in a browser)")
    _say(context, "W&B", _wandb_line(mirrored))
    if mirrored.report:
        _say(context, "report", mirrored.report)
    elif mirrored.report_problem:
        _say(context, "report", f"not made: {mirrored.report_problem}")


def evidence(context: Context, parsed: Arguments) -> int:
    """Copy the finished cells of a suite, without masks, to a folder that is kept with the code."""
    with_overrides(context.settings, parsed.suite)
    count = Store(context.runs, parsed.suite).export(Store(parsed.folder, parsed.suite))
    if not count:
        raise BenchError(f"{context.runs / parsed.suite}: no finished cell to copy")
    _say(context, "evidence", f"{count} cells in {parsed.folder / parsed.suite}")
    return 0


def methods(context: Context, parsed: Arguments) -> int:
    """List the methods that can be run, and what they declare."""
    if parsed.json:
        known = [{**asdict(info), "origin": info.origin} for info in context.methods.values()]
        context.console.print_json(json.dumps(known))
        return 0
    table = Table()
    for heading in ("method", "version", "paper", "when", "needs", "origin", "about"):
        table.add_column(heading, no_wrap=heading == "origin")
    for info in context.methods.values():
        needs = [
            name
            for name, needed in (
                ("data", info.needs_data),
                ("labels", info.needs_labels),
                ("training", info.trains_to_score),
            )
            if needed
        ]
        facts = info.name, str(info.version), info.paper or "", info.when
        table.add_row(*facts, ", ".join(needs) or "nothing", info.origin, Text(info.about))
    context.console.print(table)
    return 0


def new_method(context: Context, parsed: Arguments) -> int:
    """Write one small file with a working method, and its test, into the current folder."""
    from pai_bench.methods import template

    path, test = template.write(parsed.name, Path.cwd())
    _say(context, "method", f"{path.name}: put your own score into it")
    _say(context, "test", f"pytest {test.name}")
    _say(context, "check", f"pai-bench check {parsed.name} --plugin {path.name}")
    _say(context, "rank", f"pai-bench run quick --plugin {path.name}")
    return 0


def check(context: Context, parsed: Arguments) -> int:
    """Hold a method to the rules of all: exact, deterministic, true to what it declares."""
    from pai_bench.methods import conformance as conformance

    failed = 0
    for finding in conformance.check(parsed.method, context.plugins):
        mark = {True: "[green]ok[/]", False: "[red]no[/]", None: "[yellow]--[/]"}[finding.ok]
        context.console.print(f"{mark}  ", end="")
        context.console.print(Text(str(finding)), soft_wrap=True)
        failed += finding.ok is False
    return 1 if failed else 0


def networks(context: Context, parsed: Arguments) -> int:
    """List the networks: their sizes, counted, on each data set that they are used with."""
    from pai_bench.networks.describe import describe

    rows: list[dict[str, Any]] = []
    for name, network in context.settings.networks.items():
        for data_name in network.macs:
            data = context.settings.data[data_name]
            sizes = asdict(describe(network, data.shape, data.classes))
            rows.append({"name": name, "data": data_name, **sizes, "papers": network.papers})
    if parsed.json:
        context.console.print_json(json.dumps(rows))
        return 0
    table = Table()
    for heading in ("network", "data"):
        table.add_column(heading, no_wrap=True)
    for heading in ("parameters", "prunable", "tensors", "MFLOPs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("papers")
    for row in rows:
        counts = (f"{row[key]:,}" for key in ("parameters", "prunable", "tensors"))
        flops = f"{row['flops'] / 1e6:,.1f}"
        table.add_row(row["name"], row["data"], *counts, flops, ", ".join(row["papers"]))
    context.console.print(table)
    return 0


def datasets(context: Context, parsed: Arguments) -> int:
    """List the data sets: where each comes from, its digest, and whether it is ready here."""
    rows = [
        {
            "name": name,
            **data.model_dump(mode="json", include={"classes", "shape", "images", "digest"}),
            "source": _source(data),
            "ready": readiness(name, data, context.settings.mirror),
        }
        for name, data in context.settings.data.items()
    ]
    if parsed.json:
        context.console.print_json(json.dumps(rows))
        return 0
    table = Table()
    for heading in ("data set", "classes", "pixels", "images", "source", "digest", "ready"):
        table.add_column(heading, no_wrap=heading == "data set")
    for row in rows:
        pixels = " x ".join(map(str, row["shape"]))
        images = " + ".join(f"{count:,}" for count in row["images"])
        source = row["source"].partition("@")[0]
        digest = f"{row['digest'][:12]}…" if row["digest"] else "not pinned"
        table.add_row(
            row["name"], str(row["classes"]), pixels, images, source, digest, row["ready"]
        )
    context.console.print(table)
    return 0


def _source(data: Data) -> str:
    if data.load is not None:
        return data.load
    return f"{data.hub}@{data.revision}" if data.hub else "scikit-learn"


def show(context: Context, parsed: Arguments) -> int:
    """Show everything about one stored cell."""
    from pai_bench.claims.metric_registry import MetricContext, measured

    entry = find(context.runs, parsed.cell)
    wrong = Store(entry.folder.parent.parent, entry.folder.parent.name).verify(entry.folder.name)
    images = ordinary_images(context.settings, entry.folder.parent.name)
    metrics = measured(entry.result, MetricContext(images=images))
    if parsed.json:
        shown = {"cell": entry.cell.resolved(), "result": entry.result.to_json()}
        values = {metric.name: value for metric, value in metrics.items()}
        context.console.print_json(
            json.dumps({**shown, "metrics": values, "curves": entry.curves()})
        )
    else:
        from pai_bench.leaderboard.terminal import print_cell

        print_cell(context.console, entry, metrics)
    for problem in wrong:
        print(f"pai-bench: error: {problem}", file=sys.stderr)
    return 2 if wrong else 0


def data(context: Context, parsed: Arguments) -> int:
    """Fetch, decode, verify and cache data sets; `data export NAME FOLDER` writes a mirror."""
    if parsed.names[:1] == ["export"]:
        return _export(context, parsed.names[1:])
    from pai_bench.data import files

    for name in parsed.names or context.settings.data:
        settings = _data_settings(context, name)
        if settings.stream:
            found = files.find(name, settings, context.settings.mirror)
            _say(context, name, f"{len(found.train) + len(found.test)} files in {found.folder}")
            continue
        from pai_bench.data import sources

        arrays = sources.load(name, settings, context.settings.mirror)
        sizes = f"{len(arrays.train_labels):,} training and {len(arrays.test_labels):,} test images"
        pinned = "as pinned" if settings.digest else "(none is pinned)"
        _say(context, name, f"{sizes}, digest {arrays.digest} {pinned}")
    return 0


def _export(context: Context, given: list[str]) -> int:
    from pai_bench.data import files

    if len(given) != 2:
        raise BenchError("write: pai-bench data export DATASET FOLDER")
    name, folder = given[0], Path(given[1])
    settings = _data_settings(context, name)
    written = files.export(name, settings, folder, context.settings.mirror)
    size = sum(path.stat().st_size for path in written) / 1e6
    _say(context, name, f"{len(written)} files, {size:,.0f} MB; read them with")
    context.console.print(f"  PAI_BENCH_MIRROR={folder.resolve()}", soft_wrap=True, highlight=False)
    return 0


def _data_settings(context: Context, name: str) -> Data:
    if name not in context.settings.data:
        raise unknown("data set", name, context.settings.data)
    return context.settings.data[name]


def doctor(context: Context, parsed: Arguments) -> int:
    """Say whether this machine is ready, and what to do where it is not."""
    from pai_bench.cli.doctor import checks

    broken = 0
    for check in checks(context.settings, context.runs):
        mark = {True: "[green]ok[/]", False: "[red]no[/]", None: "[yellow]--[/]"}[check.ok]
        advice = f" → {check.advice}" if not check.ok and check.advice else ""
        context.console.print(f"{mark}  ", end="")
        context.console.print(Text(f"{check.name}: {check.found}{advice}"))
        broken += check.ok is False
    return 1 if broken else 0


def bench(context: Context, parsed: Arguments) -> int:
    """Measure our paths against what one would write without them, as ratios in one run."""
    from pai_bench.bench import measure

    measure(context.console, context.settings)
    return 0


def _say(context: Context, what: str, line: str) -> None:
    context.console.print(Text.assemble((f"{what:<9}", "bold"), line), soft_wrap=True)


def _tally_line(tally: Any) -> str:
    failed = f"; {tally.failed} failed (again with --retry-failed)" if tally.failed else ""
    taken = f" ({tally.taken} of them in other suites)" if tally.taken else ""
    return f"{tally.ran} run in {duration(tally.seconds)}, {tally.found} found done{taken}{failed}"


def _wandb_line(mirrored: Any) -> str:
    if mirrored.mode == "disabled":
        return "disabled"
    again = "`pai-bench leaderboard --wandb` tries again"
    if mirrored.problem and not mirrored.written + mirrored.unchanged:
        return f"not mirrored: {mirrored.problem}; {again}"
    count = f"{mirrored.written} runs written, {mirrored.unchanged} unchanged"
    if mirrored.mode == "online":
        return f"{count}, online"
    why = f" (not online: {mirrored.problem}; {again})" if mirrored.problem else ""
    return (
        f"{count}, offline in wandb/{why} · see: wandb leet wandb · "
        "upload: wandb sync wandb/offline-run-*"
    )


def _protocol_line(context: Context, paper: str, jobs: int) -> str:
    from pai_bench.launch.speed import measured_speed

    short = context.settings.papers[paper].protocol
    suite, selection = grid.suite_of_paper(context.settings, paper, short)
    cells = grid.cells(context.settings, context.methods, suite, selection)
    todo = [cell for cell in cells if Store(context.runs, suite).status(cell) is None]
    speed = measured_speed(context.runs, context.settings)
    estimated = estimate_cost(todo, context.settings, speed, jobs)
    return (
        f"the paper's own grid: make reproduce PAPER={paper} SUITE={short} "
        f"({len(todo)} cells to run, about {duration(estimated.seconds)} here on the CPU)"
    )


def _selection(context: Context, parsed: Arguments, of_paper: Selection | None = None) -> Selection:
    """What was asked for; the methods of plugin files run beside those of the suite."""
    of_files = {str(path) for path in context.plugins}
    more = tuple(n for n, info in context.methods.items() if info.module in of_files)
    chosen = parsed.methods or (of_paper.methods + more if of_paper else ())
    given = parsed.densities, parsed.seeds, parsed.precision, parsed.sanity_checks
    return Selection(chosen, *given, more)
