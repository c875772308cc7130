"""Tables, pages and the W&B mirror of what is stored, after a run or by themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pai_bench.cli.context import Arguments, Context, say
from pai_bench.config.overrides import with_overrides
from pai_bench.core import environment
from pai_bench.core.errors import BenchError
from pai_bench.experiment.cell import Cell
from pai_bench.store.store import Store


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
        places = [folder / suite for folder in context.folders]
        if not any(place.is_dir() for place in places):
            where = ", ".join(map(str, places))
            raise BenchError(f"{where}: no such folder of results (--runs names another)")
        publish_suite(replace(context, settings=settings), suite, suite, parsed.wandb or "disabled")
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
    boards = [stored_board(settings, context.methods, context.folders, s)[0] for s in suites]
    heading = PageHeading(
        title="PaI-Bench",
        about="All suites that have results. Each has its own recipe: their rows do not compare.",
        command="pai-bench run SUITE",
        rebuild=_rebuild(context),
    )
    measured = ResultLookup(settings, context.methods, context.judged)
    path = write_page(page(heading, boards, settings, context.methods, measured), context.runs)
    say(context, "all", f"{path} (one file with all suites)")


def _rebuild(context: Context, *suite: str) -> str:
    """The command that makes a page again."""
    return " ".join(("pai-bench leaderboard", *suite, *context.options))


def suites_with_results(context: Context) -> list[str]:
    """Name the suites of the folders of results. Raises BenchError where there is none."""
    changed = {path.name for folder in context.folders for path in folder.glob("*+*")}
    names = [*context.settings.suites, *sorted(changed)]
    with_results = [n for n in names if any(Store(f, n).ids() for f in context.folders)]
    if not with_results:
        where = ", ".join(f"{folder}/" for folder in context.folders)
        raise BenchError(f"{where} holds no results yet; `pai-bench run quick` makes some")
    return with_results


def publish_suite(
    context: Context,
    suite: str,
    title: str,
    wandb: Any,
    selected: Sequence[Cell] | None = None,
    summary: Sequence[tuple[str, str]] = (),
    live: Callable[[], str] = str,
) -> None:
    """Print the board of the `selected` cells; page and W&B hold the whole suite.

    With none selected, all are printed, and W&B is written anew. W&B comes last, after the lines of
    `summary`: nobody has to wait for it. `live` waits for the end of live runs, and says what went
    wrong with them.
    """
    from pai_bench.claims.lookup import ResultLookup
    from pai_bench.leaderboard.board import board
    from pai_bench.leaderboard.page import PageHeading, page
    from pai_bench.leaderboard.publish import mirrored, publish
    from pai_bench.leaderboard.stored import stored_board

    store, settings = Store(context.runs, suite), context.settings
    precision = selected[0].precision if selected else "32-true"
    whole, left_out = stored_board(settings, context.methods, context.folders, suite, precision)
    heading = PageHeading(
        title=title,
        about=settings.suites[suite].about,
        command=environment.command_line() if selected else f"pai-bench run {suite}",
        rebuild=_rebuild(context, "--suite", suite),
    )
    of_papers = settings.methods_of_papers()
    shown = whole if selected is None else board(store, suite, selected, of_papers)
    measured = ResultLookup(settings, context.methods, context.judged)
    whole_page = page(heading, [whole], settings, context.methods, measured)
    path = publish(context.console, shown, whole_page, store)
    if left_out.stale:
        say(context, "left out", f"{left_out.stale} stored cells of other versions or settings")
    if left_out.differing:
        differing = f"{left_out.differing} cells have other numbers in a further folder"
        say(context, "differ", f"{differing}; the first stands, `pai-bench merge` names them")
    say(context, "page", f"{path} (one file; open it in a browser)")
    for topic, line in summary:
        say(context, topic, line)
    if problem := live():
        say(context, "live", f"not all was streamed: {problem}")
    mirror = mirrored(context.console, whole, whole_page, settings, wandb, selected is None)
    say(context, "W&B", _wandb_line(mirror))
    if mirror.report:
        say(context, "report", mirror.report)
    elif mirror.report_problem:
        say(context, "report", f"not made: {mirror.report_problem}")


def evidence(context: Context, parsed: Arguments) -> int:
    """Copy the finished cells of a suite, without masks, to a folder that is kept with the code."""
    with_overrides(context.settings, parsed.suite)
    count = Store(context.runs, parsed.suite).export(Store(parsed.folder, parsed.suite))
    if not count:
        raise BenchError(f"{context.runs / parsed.suite}: no finished cell to copy")
    say(context, "evidence", f"{count} cells in {parsed.folder / parsed.suite}")
    return 0


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
