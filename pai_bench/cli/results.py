"""Commands that read results: compare, export, plot, judge claims, refresh reports."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.text import Text

from pai_bench.cli.context import Arguments, Context
from pai_bench.cli.publish import suites_with_results
from pai_bench.config.overrides import with_overrides
from pai_bench.core.errors import BenchError
from pai_bench.experiment.cost import ordinary_images
from pai_bench.leaderboard.figures.kinds import FORMATS
from pai_bench.leaderboard.formats import ENDINGS


def compare(context: Context, parsed: Arguments) -> int:
    """Compare two methods over the seeds that both have, at each density and over all of them."""
    from pai_bench.leaderboard.comparison import compared, print_compared
    from pai_bench.leaderboard.stored import stored_board

    shown, problems = 0, []
    for suite in [parsed.suite] if parsed.suite else suites_with_results(context):
        try:
            settings = with_overrides(context.settings, suite)
            board, _ = stored_board(settings, context.methods, context.folders, suite)
            comparison = compared(board, parsed.ours, parsed.theirs)
        except BenchError as error:
            problems.append(error)
            continue
        print_compared(context.console, comparison)
        shown += 1
    if not shown:
        raise problems[0]
    return 0


def export(context: Context, parsed: Arguments) -> int:
    """Write the leaderboard of a suite as CSV, Parquet, LaTeX or Markdown."""
    from pai_bench.claims.metric_registry import MetricContext
    from pai_bench.leaderboard.export import export as made
    from pai_bench.leaderboard.stored import stored_board

    settings = with_overrides(context.settings, parsed.suite)
    board, _ = stored_board(settings, context.methods, context.folders, parsed.suite)
    if not any(row.entries for row in board.rows):
        places = [folder / parsed.suite for folder in context.folders]
        is_there = any(place.is_dir() for place in places)
        problem = "no result to export" if is_there else "no such folder of results"
        raise BenchError(f"{', '.join(map(str, places))}: {problem} (--runs names another)")
    suite_context = MetricContext(images=ordinary_images(settings, parsed.suite))
    ending = parsed.output.suffix if parsed.output else ""
    kind = parsed.format or ENDINGS.get(ending, "csv")
    content = made(board, kind, suite_context)
    if parsed.output:
        parsed.output.write_bytes(content)
        print(f"{parsed.output}: {len(board.rows)} rows", file=sys.stderr)
    elif kind == "parquet":
        raise BenchError("parquet is not text: name a file with --output")
    else:
        print(content.decode(), end="")
    return 0


def plot(context: Context, parsed: Arguments) -> int:
    """Draw a figure of a suite for a paper, as PDF, SVG or PNG."""
    from pai_bench.leaderboard.figures.drawing import Request, drawn

    output: Path = parsed.output
    if output.suffix[1:] not in FORMATS:
        raise BenchError(f"--output: {output} ends in none of .{', .'.join(FORMATS)}")
    request = Request(
        parsed.suite, parsed.kind, parsed.columns, parsed.methods, parsed.densities, parsed.layer
    )
    figure = drawn(request, context.settings, context.methods, context.folders)
    output.write_bytes(figure.content(output.suffix[1:]))
    width, height = figure.get_size_inches()
    print(f"{output}: {width:.2f} × {height:.2f} inches", file=sys.stderr)
    return 0


def claims(context: Context, parsed: Arguments) -> int:
    """List what papers claim, and what became of it here; `--runs` may name several folders."""
    from pai_bench.claims import citation, verdicts
    from pai_bench.claims.lookup import ResultLookup
    from pai_bench.claims.parser import of_papers
    from pai_bench.claims.serializer import as_json
    from pai_bench.leaderboard.claims_table import print_claims

    if parsed.next:
        from pai_bench.cli.next_runs import show_next

        return show_next(context, parsed.paper)
    claims_read = of_papers(parsed.paper)
    if parsed.bibtex:
        papers = context.settings.papers
        cited = [citation.of_paper(c.content, papers.get(c.content.paper)) for c in claims_read]
        print("\n".join([*cited, citation.of_benchmark()]), end="")
        return 0
    measured = ResultLookup(context.settings, context.methods, context.judged)
    judged = [(of_paper, verdicts.judge(of_paper, measured)) for of_paper in claims_read]
    if parsed.json:
        shown = [as_json(of_paper, decided, measured) for of_paper, decided in judged]
        context.console.print_json(json.dumps(shown))
        return 0
    for of_paper, decided in judged:
        print_claims(context.console, of_paper, decided)
    context.console.print(
        Text("rules: pai_bench/claims/verdicts.py · to cite: pai-bench claims --bibtex")
    )
    return 0


def evidence_report(context: Context, parsed: Arguments) -> int:
    """Write what READMEs and the leaderboard repeat anew, from the evidence kept with the code."""
    from pai_bench.leaderboard import evidence_report as reports
    from pai_bench.leaderboard.evidence_board import PAGE

    for path in reports.pages(parsed.paper):
        changed = reports.refresh_file(path, context.settings, context.methods)
        context.console.print(Text(f"{path}: {'written anew' if changed else 'as it was'}"))
    if not parsed.paper:
        changed = reports.refresh_leaderboard(context.settings, context.methods)
        context.console.print(Text(f"{PAGE}: {'written anew' if changed else 'as it was'}"))
    return 0
