"""Mean ranks on a line, and bars over those that do not differ (Demšar 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from matplotlib.axes import Axes

from pai_bench.core.errors import BenchError
from pai_bench.leaderboard.board import Board
from pai_bench.leaderboard.critical_difference import RankTest, alike, rank_test
from pai_bench.leaderboard.figures.line_styles import Styles, readable
from pai_bench.leaderboard.figures.paper_figure import WIDTHS, PaperFigure
from pai_bench.leaderboard.summary import summarise

_ROW = 0.16
"""Inches between two names of one line each."""
_LINE = 0.11
"""Inches of each further line of a name."""
_NAME = {1: 16, 2: 40}
"""Letters in a line of a name, by the columns of the figure."""
_ABOVE = 0.48
"""Inches above the line of ranks, for the critical difference."""
_LETTER = 0.052
"""Inches of a letter, on average."""
_BAR = 0.09
"""Inches between two bars."""


def draw(board: Board, styles: Styles, columns: int) -> PaperFigure:
    """Draw the diagram of the lines that prune, where all of them have results."""
    found = summarise(board)
    if found is None:
        raise BenchError(
            f"suite {board.suite}: no density and seed at which two methods or more all have "
            "results; name those that do with --methods"
        )
    lines = found.lines
    test = rank_test([line.rank for line in lines], found.runs)
    groups = alike([line.rank for line in lines], test.critical)
    half = -(-len(lines) // 2)
    names = [readable(line.label, _NAME[columns]) for line in lines]
    below = _BAR * (len(groups) + 1)
    depth = _ROW + _LINE * max(name.count("\n") for name in names)
    height = _ABOVE + below + depth * half + 0.25
    figure = PaperFigure(columns, height)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_ylim(below + depth * half, -_ABOVE)
    unit = _ranks_across(axes, names, half, WIDTHS[columns])
    _scale(axes, len(lines), test, unit)
    for number, (first, last) in enumerate(groups, 1):
        ends = [lines[first].rank - 0.02 / unit, lines[last].rank + 0.02 / unit]
        axes.plot(ends, [_BAR * number] * 2, color="black", linewidth=2.4, solid_capstyle="butt")
    for index, line in enumerate(lines):
        row = index if index < half else len(lines) - 1 - index
        colour = styles[line.label]["color"]
        _name(axes, line.rank, names[index], below + depth * (row + 0.5), index < half, colour)
    axes.set_title(
        f"{found.runs} blocks (densities × seeds) · Friedman p = {test.p:.2g}", fontsize=6.5
    )
    return figure


def _ranks_across(axes: Axes, names: Sequence[str], half: int, width: float) -> float:
    """Give the names room on both sides of the ranks; return inches between two ranks."""
    left, right = (
        0.6 + _LETTER * max((len(text) for name in side for text in name.split("\n")), default=0)
        for side in (names[:half], names[half:])
    )
    unit = max(width - left - right, 0.1 * width) / (len(names) - 1)
    axes.set_xlim(1 - left / unit, len(names) + right / unit)
    return unit


def _scale(axes: Axes, count: int, test: RankTest, unit: float) -> None:
    """The line of ranks, and above it the length of the critical difference."""
    axes.plot([1, count], [0, 0], color="black", linewidth=0.8)
    step = ceil(0.14 / unit)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [0, -0.05], color="black", linewidth=0.8)
        if (rank - 1) % step == 0:
            axes.text(rank, -0.07, str(rank), ha="center", va="bottom")
    length = min(test.critical, count - 1)
    axes.plot([1, 1 + length], [-0.3, -0.3], color="black", linewidth=0.8, marker="|")
    axes.text(1 + length / 2, -0.33, f"CD = {test.critical:.2f}", ha="center", va="bottom")


def _name(axes: Axes, rank: float, name: str, depth: float, left: bool, colour: str) -> None:
    """A line down from the rank and out to the name, at the side of the better or the worse."""
    edges = axes.dataLim.intervalx
    edge = edges[0] if left else edges[1]
    axes.plot([rank, rank, edge], [0, depth, depth], color=colour, linewidth=0.8)
    side, sign = ("right", -1) if left else ("left", 1)
    axes.annotate(
        f"{rank:.2f}",
        (edge, depth),
        (3 * sign, 0),
        textcoords="offset points",
        ha=side,
        va="center",
    )
    axes.annotate(
        name, (edge, depth), (26 * sign, 0), textcoords="offset points", ha=side, va="center",
        multialignment=side, linespacing=1.0,
    )  # fmt: skip
