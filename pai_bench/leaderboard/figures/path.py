"""The path of a stored search: norms of a layer's units by epoch, the selected ones in colour."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError
from pai_bench.leaderboard.board import Board
from pai_bench.leaderboard.figures.line_styles import COLOURS
from pai_bench.leaderboard.figures.paper_figure import PaperFigure
from pai_bench.registry.declaration import MethodInfo

_OTHERS = "#c4c4c4"
"""Lighter than what is selected, in grey print too."""
PathOf = Callable[[Mapping[str, Any], str], tuple[str, list[tuple[list[float], bool]]]]
"""`path_of(state, layer)`: a title, and of each unit its norms and whether it is selected at the
end, as in reproductions/dessilbi/path.py."""


def draw(
    board: Board,
    methods: Mapping[str, MethodInfo],
    folders: Sequence[Path],
    layer: str,
    columns: int,
) -> PaperFigure:
    """Draw the path of the first search of the board that is stored in one of `folders`."""
    path_of, stored, which = _first(board, methods, folders)
    from pai_bench.store import search_cache  # torch comes along

    title, units = path_of(search_cache.read(stored).state, layer)
    figure = PaperFigure(columns)
    axes = figure.add_subplot()
    for selected, colour, thick in ((False, _OTHERS, 0.4), (True, COLOURS[1], 0.8)):
        lines = [list(enumerate(norms)) for norms, kept in units if kept == selected]
        name = "selected" if selected else "not selected"
        axes.add_collection(
            LineCollection(lines, colors=colour, linewidths=thick), autolim=bool(lines)
        )
        axes.plot([], [], color=colour, label=name)
    axes.autoscale_view()
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch of the search")
    axes.set_ylabel("norm")
    axes.set_title(f"{which}\n{title}", fontsize=6.5)
    figure.legend_below()
    return figure


def _first(
    board: Board, methods: Mapping[str, MethodInfo], folders: Sequence[Path]
) -> tuple[PathOf, Path, str]:
    """Find a search that is stored, whose method can tell the path of it, and name its line."""
    named = ""
    for row in board.rows:
        info = methods.get(row.method)
        if info is None or not Path(info.path).with_name("path.py").is_file():
            continue
        for entry in row.entries:
            for search in entry.result.environment.get("searches", ()):
                named = search
                for folder in folders:
                    stored = folder / "searches" / f"{search}.pt"
                    if stored.is_file():
                        return _path_of(info), stored, f"{row.label}, seed {entry.cell.seed}"
    if named:
        raise BenchError(
            f"suite {board.suite}: its searches are not in {folders[0]}/searches, from which a "
            f"path is drawn; run the suite anew, into another folder"
        )
    raise BenchError(f"suite {board.suite}: no result of a method with a path, as dessilbi")


def _path_of(info: MethodInfo) -> PathOf:
    """Import `path_of` from the path.py beside a method."""
    module = import_utils.load(f"{info.module.rpartition('.')[0]}.path")
    found: PathOf = sys.modules[module].path_of
    return found
