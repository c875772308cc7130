"""The leaderboard as a table in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import fill

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pai_bench.core.tables import print_fitting
from pai_bench.leaderboard.board import Board, Row
from pai_bench.leaderboard.summary import Summaries, summarise


def print_board(console: Console, board: Board, title: str) -> None:
    """Print one line per method and density, then what there is to remark on them."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("method", overflow="fold")
    for heading in ("density", "sparsity", "accuracy %", "n", "vs best baseline", "effective"):
        table.add_column(heading, justify="right", no_wrap=True)
    extras = extras_of(board)
    for extra in extras:
        table.add_column(extra.heading, justify="right", no_wrap=True)
    previous = None
    for row in board.rows:
        if previous not in (None, row.label):
            table.add_section()
        more = [Text(extra.cell(row)) for extra in extras]
        table.add_row(*_columns(row, row.label != previous, _marks(row, board)), *more)
        previous = row.label
    print_fitting(console, table, LEAST_NEEDED)
    console.print(_LEGEND.format(board.evaluated), style="dim", highlight=False)
    for extra in extras:
        console.print(extra.legend.format(board.evaluated), style="dim", highlight=False)
    if board.checks:
        _print_checks(console, board)
    if summaries := summarise(board):
        _print_summaries(console, summaries)
    for remark in remarks(board):
        console.print(Text(f"  {remark}"))
    console.print()


LEAST_NEEDED = (
    "sparsity", "effective", "by position", "left", "vs best baseline", "n",
)  # fmt: skip
"""Columns that a narrow terminal goes without, in this order: sparsity is 1 minus density."""
_LEGEND = (
    "accuracy: {} set, last epoch, mean ± half of the 95 % t interval over n seeds\n"
    "◂ best mean at its density · † a layer collapsed (nothing of it is kept) in some seed\n"
    "vs best baseline: difference in points to the best other baseline, paired by seed\n"
    "effective: density of kept weights that lie on a path from input to output"
)


@dataclass(frozen=True)
class Extra:
    """A column that some boards have."""

    heading: str
    cell: Callable[[Row], str]
    legend: str


def extras_of(board: Board) -> list[Extra]:
    """Columns for what some row has a number of."""
    columns = []
    if any(row.bits for row in board.rows):
        columns.append(Extra("bits per step", _bits, _TEXT_LEGEND))
    if any(row.compacted is not None for row in board.rows):
        columns.append(Extra("left", _left, _UNITS_LEGEND))
    if any(row.by_position for row in board.rows):
        columns.append(Extra("by position", _by_position, _POSITION_LEGEND))
    return columns


_TEXT_LEGEND = (
    "of text, accuracy is that of the next byte; bits per step: {} loss / ln 2, less is better"
)


_UNITS_LEGEND = (
    "left: units / parameters / FLOPs of an image, without dead units, over the dense network's"
)


def _print_checks(console: Console, board: Board) -> None:
    """Print what each sanity check takes away from each row, in points."""
    title = "sanity checks: does the mask matter beyond its densities by layer?"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method", overflow="fold")
    table.add_column("density", justify="right", no_wrap=True)
    headings = [fill(f"− {name.replace('-', ' ')}", 16) for name in board.checks]
    for heading in headings:
        table.add_column(heading, justify="right", min_width=14, no_wrap=True)
    previous = None
    for row in board.rows:
        if row.checks:
            estimates = [row.checks.get(name) for name in board.checks]
            shown = [Text("" if estimated is None else estimated.signed) for estimated in estimates]
            line = Text(row.label if row.label != previous else "")
            table.add_row(line, Text(f"{row.density:.4g}"), *shown)
            previous = row.label
    print_fitting(console, table, headings[::-1])
    console.print(_CHECKS_LEGEND, style="dim", highlight=False)


_CHECKS_LEGEND = (
    "difference in points to the same method under the check, paired by seed, ± half of the 95 %\n"
    "t interval: about 0 means that what the check takes away did not matter"
)


def _print_summaries(console: Console, summaries: Summaries) -> None:
    """Print one line per method over the whole grid, best mean rank first."""
    count = len(summaries.densities)
    title = (
        f"over {count} {'density' if count == 1 else 'densities'}, {summaries.runs} networks each"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("method")
    for heading in ("mean rank", "area %", "interquartile mean %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in summaries.lines:
        area = "" if line.area is None else f"{100 * line.area:.2f}"
        table.add_row(Text(line.label), f"{line.rank:.2f}", area, f"{100 * line.middle:.2f}")
    console.print(table)
    console.print(_SUMMARY_LEGEND, style="dim", highlight=False)


_SUMMARY_LEGEND = (
    "where all methods have results · mean rank: 1 is the highest accuracy of a density and seed\n"
    "area: under mean accuracy over log density · interquartile mean: of the middle half of them"
)


def _columns(row: Row, first: bool, marks: str) -> list[Text]:
    return [
        Text(row.label if first else ""),
        Text(f"{row.density:.4g}"),
        Text(f"{100 * (1 - row.density):.4g} %"),
        Text(("–" if row.accuracy is None else str(row.accuracy)) + marks),
        Text(str(len(row.entries))),
        Text(_delta(row)),
        Text("–" if row.effective is None else f"{row.effective:.3g}"),
    ]


def _marks(row: Row, board: Board) -> str:
    best = row.density < 1 and board.best_at(row.density) == row.label
    return f"{' ◂' if best else '  '}{'†' if row.collapsed else ' '}"


def _delta(row: Row) -> str:
    return "" if row.delta is None else row.delta.estimate.signed


def _by_position(row: Row) -> str:
    return f"{row.by_position} of {len(row.entries)}" if row.by_position else ""


_POSITION_LEGEND = (
    "by position: seeds with a layer whose weights all scored the same, so that position decides"
)


def _left(row: Row) -> str:
    return " / ".join(f"{share:.2f}" for share in row.compacted or ())


def _bits(row: Row) -> str:
    """Bits for each symbol, as `1.463 ± 0.012`."""
    if row.bits is None:
        return "–"
    half = "" if row.bits.high is None else f" ± {row.bits.high - row.bits.mean:.3f}"
    return f"{row.bits.mean:.3f}{half}"


def remarks(board: Board) -> list[str]:
    """Say where rows have other seeds, and which cells have no number, grouped by the reason."""
    reasons: dict[str, list[str]] = {}
    for row in (*board.rows, *board.sanity_checked):
        for missing in row.missing:
            line = f"{row.label} ({row.sanity_check})" if row.sanity_check else row.label
            cell = f"{line} at {row.density:.4g}, seed {missing.seed}"
            reason = missing.reason if missing.status == "not run" else f"failed: {missing.reason}"
            reasons.setdefault(reason, []).append(cell)
    return uneven_remarks(board) + [
        f"{reason}: {'; '.join(cells[:4])}" + (f"; and {len(cells) - 4} more" * (len(cells) > 4))
        for reason, cells in reasons.items()
    ]


def uneven_remarks(board: Board) -> list[str]:
    """Say over which seeds rows of different n are ranked."""
    return [
        f"density {density:.4g}: rows have {' or '.join(map(str, counts))} seeds; the best are "
        + (f"chosen over seed {', '.join(map(str, shared))}, which all have" if shared
           else "chosen although no seed is common to all")
        for density, counts, shared in board.uneven
    ]  # fmt: skip
