"""The path of a cached search: units selected by epoch, and their norms as a figure.

python -m pai_bench.reproductions.dessilbi.path runs/searches/ID.pt
python -m pai_bench.reproductions.dessilbi.path runs/searches/ID.pt --layer conv3 --svg path.svg
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pai_bench.core.errors import BenchError, unknown
from pai_bench.reproductions.dessilbi.search import unpacked
from pai_bench.store import search_cache

WIDTH, HEIGHT, MARGIN = 640, 400, 48
SELECTED, OTHERS = "#c23b22", "#9aa0a6"


def selected(state: Mapping[str, Any]) -> list[dict[str, tuple[int, int]]]:
    """Count the units whose Gamma is not 0 after each epoch.

    Units are output filters of convolutions, single weights of linear layers.

    Returns:
        For each epoch, weight name -> (selected units, all units).
    """
    shapes = {name: dual.shape for name, dual in state["dual"].items()}
    counts = []
    for bits in state["supports"]:
        masks = {name: unpacked(bits[name], shape) for name, shape in shapes.items()}
        units = {n: m.flatten(1).any(1) if m.dim() > 2 else m for n, m in masks.items()}
        counts.append({name: (int(u.sum()), u.numel()) for name, u in units.items()})
    return counts


def table(state: Mapping[str, Any]) -> str:
    """Format `selected`: a line per epoch, from 0 as in the authors' code, a column per layer."""
    epochs = selected(state)
    names = list(epochs[0])
    heads = [f"{n.removesuffix('.weight')} of {epochs[0][n][1]}" for n in names]
    rows = [["epoch", *heads]]
    rows += [
        [str(epoch), *(str(counts[name][0]) for name in names)]
        for epoch, counts in enumerate(epochs)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows
    )


def picture(state: Mapping[str, Any], layer: str) -> str:
    """Draw the norms of a layer's filters (or rows) against epochs, as an SVG.

    Those whose Gamma is not 0 at the end are in colour. Raises BenchError for an unknown layer.
    """
    title, units = path_of(state, layer)
    highest = max(1e-12, *(max(norms) for norms, _ in units))
    lines = [_line(norms, highest, SELECTED if kept else OTHERS) for norms, kept in units]
    return "\n".join([*_frame(title, len(units[0][0]) - 1, highest), *lines, "</svg>", ""])


def path_of(
    state: Mapping[str, Any], layer: str = ""
) -> tuple[str, list[tuple[list[float], bool]]]:
    """Read the path of a layer, the first unless named; `pai-bench plot --kind path` draws it too.

    Returns:
        A title; and of each filter (or row) its norms, before the first epoch and after each, and
        whether its Gamma is not 0 at the end: those that are not selected first.

    Raises:
        BenchError: The layer is unknown.
    """
    norms: Mapping[str, Tensor] = state["norms"]
    name = next((key for key in norms if layer in ("", key, key.removesuffix(".weight"))), None)
    if name is None:
        raise unknown("layer", layer, [key.removesuffix(".weight") for key in norms])
    shape = state["dual"][name].shape
    kept = unpacked(state["supports"][-1][name], shape).flatten(1).any(1).tolist()
    units = sorted(zip(norms[name].T.tolist(), kept, strict=True), key=lambda unit: unit[1])
    return f"{name.removesuffix('.weight')}: {sum(kept)} of {len(kept)} selected", units


def _line(norms: Sequence[float], highest: float, colour: str) -> str:
    last = max(1, len(norms) - 1)
    points = " ".join(
        f"{MARGIN + (WIDTH - 2 * MARGIN) * epoch / last:.1f},"
        f"{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * norm / highest:.1f}"
        for epoch, norm in enumerate(norms)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-opacity="0.6"/>'


def _frame(title: str, epochs: int, highest: float) -> list[str]:
    left, right, top, bottom = MARGIN, WIDTH - MARGIN, MARGIN, HEIGHT - MARGIN
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#333"/>',
        f'<text x="{left}" y="{top - 16}">{title}</text>',
        f'<text x="{right}" y="{bottom + 20}" text-anchor="end">epoch {epochs}</text>',
        f'<text x="{left}" y="{bottom + 20}">0</text>',
        f'<text x="{left - 6}" y="{top + 4}" text-anchor="end">{highest:.2g}</text>',
        f'<text x="{left - 6}" y="{bottom + 4}" text-anchor="end">norm 0</text>',
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; with `--svg`, write the figure."""
    parser = argparse.ArgumentParser(
        prog="pai_bench.reproductions.dessilbi.path", description=__doc__
    )
    parser.add_argument("search", type=Path, help="file of a cached search")
    parser.add_argument("--layer", help="layer whose filters are drawn")
    parser.add_argument("--svg", type=Path, help="file to write the figure to")
    options = parser.parse_args(arguments)
    if (options.layer is None) != (options.svg is None):
        parser.error("--layer and --svg go together")
    try:
        state = search_cache.read(options.search).state
        print(table(state))
        if options.svg is not None:
            options.svg.write_text(picture(state, options.layer), encoding="utf-8")
    except BenchError as error:
        print(f"pai_bench.reproductions.dessilbi.path: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
