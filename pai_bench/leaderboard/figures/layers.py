"""Densities by layer at the end of training, of one target density: means over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from matplotlib.ticker import FuncFormatter

from pai_bench.core.errors import BenchError
from pai_bench.leaderboard.board import Board, Row
from pai_bench.leaderboard.figures.line_styles import Styles
from pai_bench.leaderboard.figures.paper_figure import PALE, WIDTHS, PaperFigure

_NAMED = 20
"""Layers that have room for their names; more are numbered."""


def draw(board: Board, styles: Styles, columns: int) -> PaperFigure:
    """Draw a line per method, over the layers from input to output."""
    density = _density(board)
    lines = {
        row.label: densities
        for row in board.rows
        if row.density == density and (densities := layer_densities(row))
    }
    names = list(dict.fromkeys(name for densities in lines.values() for name in densities))
    figure = PaperFigure(columns)
    axes = figure.add_subplot()
    for label, densities in lines.items():
        places = [index for index, name in enumerate(names) if name in densities]
        axes.plot(places, list(densities.values()), label=label, clip_on=False, **styles[label])
    axes.axhline(density, color=PALE, linestyle=(0, (6, 2)), linewidth=0.8, zorder=1)
    kept = [value for densities in lines.values() for value in densities.values() if value]
    axes.set_yscale("symlog", linthresh=min([*kept, density]), linscale=0.4)
    axes.set_ylim(0, min(1.0, 1.5 * max([*kept, density])))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel(f"density of the layer (all: {density:.3g})")
    if len(names) <= _NAMED:
        shown = [name.removesuffix(".weight") for name in names]
        turned = 0.06 * sum(map(len, shown)) > 0.75 * WIDTHS[columns]
        more: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(names)), shown, **(more if turned else {}))
    else:
        axes.set_xlabel("layer, from the input on")
    figure.legend_below()
    return figure


def layer_densities(row: Row) -> Mapping[str, float]:
    """Mean density over seeds of each layer, in the order of the network; empty without layers."""
    found: dict[str, list[float]] = {}
    for entry in row.entries:
        for layer in entry.result.layers:
            found.setdefault(layer.name, []).append(layer.kept_end / layer.total)
    return {name: fmean(values) for name, values in found.items()}


def _density(board: Board) -> float:
    """Find the one density that results with layers have."""
    densities = sorted(
        {row.density for row in board.rows if row.density < 1 and layer_densities(row)}
    )
    if not densities:
        raise BenchError(f"suite {board.suite}: its results hold no densities by layer to draw")
    if len(densities) > 1:
        known = ", ".join(f"{density:.4g}" for density in densities)
        raise BenchError(f"a figure of layers is of one density; name it with --densities: {known}")
    return densities[0]
