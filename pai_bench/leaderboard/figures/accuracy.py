"""Accuracy over density, and over the FLOPs of training: means over seeds, with 95 % bands."""

from __future__ import annotations

from collections.abc import Sequence

from pai_bench.core.errors import BenchError
from pai_bench.leaderboard.board import Board, Row
from pai_bench.leaderboard.figures.axes import accuracy_axis, density_axis
from pai_bench.leaderboard.figures.line_styles import Styles
from pai_bench.leaderboard.figures.paper_figure import PALE, PaperFigure


def over_density(board: Board, styles: Styles, columns: int) -> PaperFigure:
    """Draw a line per method that prunes; a network that does not is a level to compare with."""
    lines = _lines([row for row in board.rows if row.density < 1])
    if not lines:
        raise BenchError(f"suite {board.suite}: no result of a pruned network to draw")
    figure = PaperFigure(columns)
    axes = figure.add_subplot()
    faint = min(0.15, 0.8 / len(lines))
    for label, rows in lines.items():
        at = [row.density for row in rows]
        axes.plot(at, _means(rows), label=label, **styles[label])
        axes.fill_between(at, *_bands(rows), color=styles[label]["color"], alpha=faint, lw=0)
    levels = [row for row in board.rows if row.density == 1 and row.accuracy is not None]
    for row in levels:
        axes.axhline(_means([row])[0], color=PALE, linestyle=(0, (6, 2)), label=row.label, zorder=1)
    drawn = [row for rows in lines.values() for row in rows]
    density_axis(axes, sorted({row.density for row in drawn}), narrow=columns == 1)
    accuracy_axis(axes, _means([*drawn, *levels]), board.evaluated)
    figure.legend_below()
    return figure


def over_flops(board: Board, styles: Styles, columns: int) -> PaperFigure:
    """Draw a line per method through its densities: what accuracy costs, scoring included."""
    counted = [row for row in board.rows if row.training_flops]
    lines = _lines(counted)
    if not lines:
        raise BenchError(f"suite {board.suite}: its results hold no FLOPs of training to draw")
    figure = PaperFigure(columns)
    axes = figure.add_subplot()
    for label, rows in lines.items():
        low, high = _bands(rows)
        means = _means(rows)
        errors = [[m - a for m, a in zip(means, low, strict=True)],
                  [b - m for m, b in zip(means, high, strict=True)]]  # fmt: skip
        flops = [row.training_flops or 0.0 for row in rows]
        axes.errorbar(flops, means, errors, label=label, elinewidth=0.5, **styles[label])
    axes.set_xscale("log")
    axes.set_xlabel("FLOPs of training, scoring included")
    accuracy_axis(axes, _means([row for rows in lines.values() for row in rows]), board.evaluated)
    figure.legend_below()
    return figure


def _lines(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows that have a number, by line, densities descending."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if row.accuracy is not None:
            lines.setdefault(row.label, []).append(row)
    return lines


def _means(rows: Sequence[Row]) -> list[float]:
    return [100 * row.accuracy.mean for row in rows if row.accuracy is not None]


def _bands(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    """Ends of the intervals, cut where no accuracy can be; with one seed, the value itself."""
    found = [row.accuracy for row in rows if row.accuracy is not None]
    low = [100 * max(0.0, e.mean if e.low is None else e.low) for e in found]
    high = [100 * min(1.0, e.mean if e.high is None else e.high) for e in found]
    return low, high
