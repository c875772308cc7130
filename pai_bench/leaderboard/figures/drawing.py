"""What is asked of a figure, and drawing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError, unknown
from pai_bench.leaderboard.board import Board
from pai_bench.leaderboard.figures.kinds import COLUMNS, KINDS
from pai_bench.leaderboard.figures.line_styles import Styles, line_styles
from pai_bench.leaderboard.figures.selection import selected
from pai_bench.leaderboard.stored import spectra_board, stored_board
from pai_bench.registry.declaration import MethodInfo

if TYPE_CHECKING:
    from pai_bench.leaderboard.figures.paper_figure import PaperFigure

Draw = Callable[[Board, Styles, int], "PaperFigure"]


@dataclass(frozen=True)
class Request:
    """A figure of one suite."""

    suite: str
    kind: str = "accuracy"
    columns: int = 1
    methods: tuple[str, ...] = ()
    """Only these lines; all unless given."""
    densities: tuple[float, ...] = ()
    layer: str = ""
    """Of a path: whose units are drawn; the first unless given."""


def drawn(
    request: Request,
    settings: Benchmark,
    methods: Mapping[str, MethodInfo],
    folders: Sequence[Path],
) -> PaperFigure:
    """Draw a figure of what folders of results hold of a suite.

    Raises:
        BenchError: matplotlib is not installed, the kind or a name is unknown, or there is no
            result to draw.
    """
    if request.kind not in KINDS:
        raise unknown("kind of figure", request.kind, KINDS)
    if request.columns not in COLUMNS:
        raise BenchError(f"a figure is 1 or 2 columns wide, not {request.columns}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        problem = 'figures need matplotlib: pip install "pai-bench[plot]"'
        raise BenchError(problem) from None
    from pai_bench.leaderboard.figures.paper_figure import settings as fonts

    with fonts():
        if request.kind == "claims":
            return _claims(request, settings, methods, folders)
        return _of_board(request, with_overrides(settings, request.suite), methods, folders)


def _of_board(
    request: Request,
    settings: Benchmark,
    methods: Mapping[str, MethodInfo],
    folders: Sequence[Path],
) -> PaperFigure:
    from pai_bench.leaderboard.figures import accuracy, layers, path, ranks, spectra

    kinds: Mapping[str, Draw] = {
        "accuracy": accuracy.over_density,
        "flops": accuracy.over_flops,
        "ranks": ranks.draw,
        "layers": layers.draw,
        "spectra": spectra.draw,
    }
    if request.kind == "spectra":
        board = spectra_board(settings, methods, folders, request.suite)
    else:
        board, _ = stored_board(settings, methods, folders, request.suite)
    if request.kind != "spectra" and not any(row.entries for row in board.rows):
        where = ", ".join(str(folder / request.suite) for folder in folders)
        raise BenchError(f"{where}: no result to draw")
    styles = line_styles(row.label for row in board.rows)
    shown = selected(board, request.methods, request.densities)
    if request.kind == "path":
        return path.draw(shown, methods, folders, request.layer, request.columns)
    return kinds[request.kind](shown, styles, request.columns)


def _claims(
    request: Request,
    settings: Benchmark,
    methods: Mapping[str, MethodInfo],
    folders: Sequence[Path],
) -> PaperFigure:
    """Judge what the folders hold alone, as `pai-bench claims --runs FOLDER` does."""
    from pai_bench.claims import verdicts
    from pai_bench.claims.lookup import ResultLookup
    from pai_bench.claims.parser import of_papers
    from pai_bench.leaderboard.figures import claims

    measured = ResultLookup(settings, methods, folders)
    of_suite = [c for c in of_papers(None) if request.suite in c.content.suites]
    judged = [verdict for each in of_suite for verdict in verdicts.judge(each, measured)]
    return claims.draw(request.suite, judged, request.columns)
