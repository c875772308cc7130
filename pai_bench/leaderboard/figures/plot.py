"""Figures for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pai_bench.config import loader
from pai_bench.core.project import settings_file
from pai_bench.leaderboard.figures.drawing import Request, drawn
from pai_bench.leaderboard.stored import Folders, folders_of
from pai_bench.registry import methods as registry

if TYPE_CHECKING:
    from pai_bench.leaderboard.figures.paper_figure import PaperFigure


def plot(
    suite: str,
    kind: str = "accuracy",
    runs: Folders = "runs",
    methods: Sequence[str] = (),
    densities: Sequence[float] = (),
    columns: int = 1,
    layer: str = "",
    config: str | Path | None = None,
) -> PaperFigure:
    """Draw a suite: the figure that `pai-bench plot` writes.

    Args:
        suite: A suite of the settings, with changes as in `quick+length=2` if need be.
        kind: `accuracy` over density, `flops` (accuracy over those of training), mean `ranks` with
            critical differences, densities by `layers`, the `path` of a search, `claims` (what
            papers print against what was measured), or `spectra` of tangent kernels.
        runs: Folder of results, as `pai-bench run` writes it, or several, as of `board`.
        methods: Only these methods or lines; all unless given.
        densities: Only these; all unless given.
        columns: Width: one column of a page of two, or both.
        layer: Of a path: the layer that is drawn; the first unless given.
        config: Settings that the suite is in; unless given, benchmark.yaml in this folder, else
            those that come with PaI-Bench.

    Returns:
        A figure of matplotlib, which a notebook shows where a cell ends with it; its
        `content("pdf")` is the file.

    Raises:
        BenchError: matplotlib is not installed, a name is unknown, or there is nothing to draw.
    """
    known = registry.available()
    settings = loader.load(Path(config or settings_file()), known)
    request = Request(suite, kind, columns, tuple(methods), tuple(densities), layer)
    return drawn(request, settings, known, folders_of(runs))
