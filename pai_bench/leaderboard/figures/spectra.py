"""Eigenvalues of tangent kernels before training, by rank: geometric means over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log10
from statistics import fmean

from matplotlib.axes import Axes

from pai_bench.core.errors import BenchError
from pai_bench.leaderboard.board import Board, Row
from pai_bench.leaderboard.figures.line_styles import Styles
from pai_bench.leaderboard.figures.paper_figure import PALE, PaperFigure
from pai_bench.store.result import TangentSpectrum

_LEAST = 1e-13
"""Of the largest: what rounding leaves of smaller ones is drawn there."""
_MARKED = 9
"""Marks along a line."""


def draw(board: Board, styles: Styles, columns: int) -> PaperFigure:
    """Draw a line per method at one density, and the dense network's.

    Over two columns, a second panel has each line divided by the dense network's.
    """
    density = _density(board)
    rows = [row for row in board.rows if row.stored and row.density == density]
    lines = {row.label: _decades(each.eigenvalues for each in _spectra(row)) for row in rows}
    dense = _decades(each.dense for row in rows for each in _spectra(row))
    figure = PaperFigure(columns)
    panels = figure.subplots(1, columns, squeeze=False)[0]
    for axes in panels:
        _axes(axes, len(dense))
    panels[0].plot(*_points(dense), color=PALE, linewidth=2.2, label="dense", zorder=1)
    panels[0].set_ylabel(f"eigenvalue (density {density:.3g})")
    if columns == 2:
        panels[1].axhline(1.0, color=PALE, linewidth=2.2, zorder=1)
        panels[1].set_ylabel("over the dense network's")
    for label, values in lines.items():
        relative = [own - of_dense for own, of_dense in zip(values, dense, strict=True)]
        for axes, drawn in zip(panels, (values, relative), strict=False):
            axes.plot(*_points(drawn), label=label, markevery=_marked(len(drawn)), **styles[label])
    figure.legend_below()
    return figure


def _density(board: Board) -> float:
    """Find the one density below 1 that there are spectra of."""
    densities = sorted({row.density for row in board.rows if row.stored and row.density < 1})
    if not densities:
        raise BenchError(
            f"suite {board.suite}: no spectrum to draw; `pai-bench spectrum {board.suite}` "
            "measures them"
        )
    if len(densities) > 1:
        known = ", ".join(f"{density:.4g}" for density in densities)
        raise BenchError(
            f"a figure of spectra is of one density; name it with --densities: {known}"
        )
    return densities[0]


def _spectra(row: Row) -> list[TangentSpectrum]:
    return [found for entry in row.stored if (found := entry.result.spectrum) is not None]


def _decades(spectra: Iterable[Sequence[float]]) -> list[float]:
    """Mean logarithm of the eigenvalues of each rank."""
    logs = [[log10(max(v, _LEAST * max(values))) for v in values] for values in spectra]
    return [fmean(of_rank) for of_rank in zip(*logs, strict=True)]


def _points(decades: Sequence[float]) -> tuple[range, list[float]]:
    return range(1, len(decades) + 1), [10**value for value in decades]


def _marked(count: int) -> list[int]:
    """Positions of marks, evenly spaced on the log axis."""
    return sorted({round(count ** (i / (_MARKED - 1))) - 1 for i in range(_MARKED)})


def _axes(axes: Axes, count: int) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, count)
    axes.set_xlabel("rank")
