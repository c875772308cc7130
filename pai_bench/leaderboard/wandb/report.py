"""A report of one suite: its leaderboard, curves, claims with verdicts, and how to cite it.

Made from what the terminal and the page show, as plain blocks of our own: the same report becomes
one in W&B (`hosted`) and a Markdown file, which needs no account (`written`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pai_bench.claims import citation
from pai_bench.claims.verdicts import RULES, Verdict, tally
from pai_bench.config.schema import Benchmark
from pai_bench.core.redact import redact_text
from pai_bench.experiment.cell import Cell
from pai_bench.leaderboard import markdown
from pai_bench.leaderboard.board import Board, Row, ranked
from pai_bench.leaderboard.claims_table import legend, numbers
from pai_bench.leaderboard.export import HEADINGS, shown
from pai_bench.leaderboard.page import Page
from pai_bench.leaderboard.page_claims import Judged
from pai_bench.leaderboard.terminal import extras_of, remarks

RECORDED = ("test_accuracy", "train_loss", "test_loss")
"""Curves of every training, one value for each epoch."""


@dataclass(frozen=True)
class ReportHeading:
    """A title inside the report; level 1 is the highest."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """Markdown."""

    markdown: str


@dataclass(frozen=True)
class ReportTable:
    """Plain text in rows and columns."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...]
    """Headings of the columns that are no numbers."""
    runs: tuple[str, ...] = ()
    """Id of the run of each row, to which its first cell is a link; `""` for none."""


@dataclass(frozen=True)
class Plot:
    """What some runs recorded, against something else that they recorded."""

    title: str
    x: str
    y: tuple[str, ...]
    logarithmic: bool = False


@dataclass(frozen=True)
class Curves:
    """Plots of some runs, which are named by their ids."""

    title: str
    runs: tuple[str, ...]
    plots: tuple[Plot, ...]


Block = ReportHeading | Text | ReportTable | Curves


@dataclass(frozen=True)
class Report:
    """All that a report says; `short` is its beginning, in a few lines."""

    title: str
    short: str
    blocks: tuple[Block, ...]
    claims: Sequence[Mapping[str, Any]] = ()
    """All claims of each paper, as on the page."""


def run_id(cell: Cell) -> str:
    """Derive the id of the run that a cell is in from its identity, the seed left out."""
    identity = {k: v for k, v in cell.identity.items() if k != "seed"}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def board_id(suite: str) -> str:
    """Name the run that holds the leaderboard of a suite."""
    return f"leaderboard-{re.sub(r'[^A-Za-z0-9._-]', '-', suite)}"[:64]


def report(board: Board, page: Page, settings: Benchmark) -> Report:
    """Tell what `page` shows of one board."""
    short = "\n".join(_short(board, page))
    blocks = (
        Text("\n\n".join(_about(board, page, settings))),
        Text(short),
        ReportHeading(1, "Leaderboard"),
        *_leaderboard(board),
        ReportHeading(1, "Curves"),
        *_curves(board),
        *_claims(page.judged),
        ReportHeading(1, "How to cite"),
        *_citations(page.judged, settings),
    )
    return Report(f"PaI-Bench {board.suite}"[:128], short, blocks, page.data["claims"])


def _about(board: Board, page: Page, settings: Benchmark) -> Iterator[str]:
    (data,) = (
        board_data for board_data in page.data["boards"] if board_data["suite"] == board.suite
    )
    yield markdown.escaped(data["about"])
    yield (
        f"{data['network']} on {data['data']}, {data['epochs']} epochs, seeds "
        f"{', '.join(map(str, data['seeds']))}. Accuracy is that of the last epoch on the "
        f"{board.evaluated} set: mean ± half of the 95 % t interval over n seeds. Differences are "
        "in points, to the best other baseline at the same density, paired by seed."
    )
    yield f"Run with `{page.data['command']}`. This report: `{page.data['rebuild']} --wandb`."


def _short(board: Board, page: Page) -> Iterator[str]:
    """One line for each density and for each paper."""
    for density in _densities(board):
        best, *_ = _ranked(board, density)
        if best.accuracy is not None:
            yield f"- density {density:.4g}: {markdown.escaped(best.label)}, {best.accuracy} %"
    for each in page.judged:
        counts = ", ".join(f"{count} {state}" for state, count in tally(each.verdicts).items())
        yield f"- claims of {each.claims.content.paper}: {counts}"


def _densities(board: Board) -> list[float]:
    return sorted({row.density for row in board.rows}, reverse=True)


def _ranked(board: Board, density: float) -> list[Row]:
    """Rows of a density, the best first (board.ranked), those without a result last."""
    rows = [row for row in board.rows if row.density == density]
    return ranked(rows) + [row for row in rows if row.accuracy is None]


def _leaderboard(board: Board) -> Iterator[Block]:
    extras = extras_of(board)
    headings = (*HEADINGS, "best baseline", *(extra.heading for extra in extras))
    for density in _densities(board):
        ranked = _ranked(board, density)
        yield ReportHeading(2, f"Density {density:.4g}, sparsity {100 * (1 - density):.4g} %")
        yield ReportTable(
            headings,
            tuple(
                (
                    *shown(row),
                    row.delta.against if row.delta else "",
                    *(e.cell(row) for e in extras),
                )
                for row in ranked
            ),
            ("method", "best baseline"),
            tuple(run_id(row.cells[0]) if row.entries else "" for row in ranked),
        )
    notes = [*(extra.legend.format(board.evaluated) for extra in extras), *remarks(board)]
    if notes:
        yield Text("\n".join(f"- {markdown.escaped(redact_text(note))}" for note in notes))


def _curves(board: Board) -> Iterator[Block]:
    """Accuracy over density from the leaderboard's run, and trainings, a grid for each density."""
    lines = dict.fromkeys(row.label for row in board.rows if row.accuracy is not None)
    metrics = tuple(f"accuracy/{line}" for line in lines)
    over = Plot("accuracy", "density", metrics, logarithmic=True)
    yield Curves("Accuracy over density", (board_id(board.suite),), (over,))
    for density in _densities(board):
        runs = tuple(run_id(row.cells[0]) for row in _ranked(board, density) if row.entries)
        plots = tuple(Plot(name.replace("_", " "), "epoch", (name,)) for name in RECORDED)
        if runs:
            yield Curves(f"Training at density {density:.4g}, means over seeds", runs, plots)


def _claims(judged: Sequence[Judged]) -> Iterator[Block]:
    if judged:
        yield ReportHeading(1, "Claims and verdicts")
    for each in judged:
        content, tested = each.claims.content, [v for v in each.verdicts if v.test is not None]
        yield ReportHeading(2, f"{content.paper}: {len(each.verdicts)} claims")
        yield from _tested(tested)
        yield from _not_run([v for v in each.verdicts if v.test is None])
        notes = [f"not among the claims: {line}" for line in content.missing]
        deviations = dict.fromkeys(line for v in tested for line in v.deviations)
        notes += [f"differs from the paper: {line}" for line in deviations]
        if notes:
            yield Text("\n".join(f"- {markdown.escaped(note)}" for note in notes))


def _tested(tested: Sequence[Verdict]) -> Iterator[Block]:
    if not tested:
        yield Text("None has been tested: the cells that test one have not run.")
        return
    headings = ("printed", "measured", "difference", "tolerance", "p", "n")
    rows = tuple((v.claim.id, *numbers(v), v.state, v.reason) for v in tested)
    yield ReportTable(("claim", *headings, "verdict", "why"), rows, ("claim", "verdict", "why"))
    kinds = dict.fromkeys(verdict.claim.kind for verdict in tested)
    rules = [f"{kind} claims are reproduced where {RULES[kind]}" for kind in kinds]
    yield Text("\n".join(f"- {line}" for line in (" ".join(legend(tested)), *rules)))


def _not_run(verdicts: Sequence[Verdict]) -> Iterator[Block]:
    counts = Counter((verdict.claim.block, verdict.reason) for verdict in verdicts)
    if counts:
        rows = tuple((block, str(count), reason) for (block, reason), count in counts.items())
        yield ReportTable(("not run", "claims", "why"), rows, ("not run", "why"))


def _citations(judged: Sequence[Judged], settings: Benchmark) -> Iterator[Block]:
    papers = [each.claims.content for each in judged]
    entries = [citation.of_paper(content, settings.papers.get(content.paper)) for content in papers]
    for entry in (citation.of_benchmark(), *entries):
        yield Text(f"```bibtex\n{entry}```")


def written(report: Report) -> str:
    """Write a report as one Markdown file; curves are named, not drawn."""
    return "\n\n".join([f"# {report.title}", *(_markdown(block) for block in report.blocks)]) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, ReportHeading):
        return f"{'#' * (block.level + 1)} {block.text}"
    if isinstance(block, Text):
        return block.markdown
    if isinstance(block, ReportTable):
        return table(block).rstrip()
    plots = "; ".join(f"{plot.title} against {plot.x}" for plot in block.plots)
    return f"{block.title} ({plots}): run{'s' * (len(block.runs) > 1)} {', '.join(block.runs)}"


def table(block: ReportTable, project: str = "") -> str:
    """Write a table in Markdown, with links to its runs below the address of a `project`."""
    cells = [[markdown.escaped(cell) for cell in row] for row in block.rows]
    for row, run in zip(cells, block.runs, strict=False):
        if project and run:
            row[0] = f"[{row[0]}]({project}/runs/{run})"
    return markdown.table(block.headings, cells, block.texts)
