"""A figure as wide as one or two columns of a page, and its files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from pai_bench.leaderboard.figures.line_styles import readable

WIDTHS = {1: 3.25, 2: 6.75}
"""Inches of one column and of two, as ICML and CVPR have them."""
_LETTERS = 52
"""In a line of a name below the data: what fits one column."""
PALE = "#8a8a8a"
"""Of what is beside the data: grid, references."""
_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on each machine
    "font.size": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.fontsize": 6.5,
    "legend.handlelength": 2.8,
    "pdf.fonttype": 42,  # TrueType, as publishers ask for
    "svg.hashsalt": "pai-bench",
}
_METADATA: Mapping[str, Mapping[str, None]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {},
}
"""No dates: the same results are the same file."""


def settings() -> Any:
    """Fonts, lines and formats of all figures: a context to draw and to write in."""
    return rc_context(_SETTINGS)


class PaperFigure(Figure):
    """A figure of matplotlib that notebooks show, and whose files do not change by themselves."""

    def __init__(self, columns: int = 1, height: float = 2.2) -> None:
        super().__init__(figsize=(WIDTHS[columns], height), layout="constrained")

    def content(self, form: str) -> bytes:
        """Make the file: pdf, svg or png."""
        sink = io.BytesIO()
        with settings():
            self.savefig(sink, format=form, dpi=300, metadata=dict(_METADATA[form]))
        return sink.getvalue()

    def _repr_png_(self) -> bytes:
        """What a notebook shows where a cell ends with the figure."""
        sink = io.BytesIO()
        with settings():
            self.savefig(sink, format="png", dpi=150)
        return sink.getvalue()

    def legend_below(self) -> None:
        """Name what is drawn, below the data, in as many columns as the width takes."""
        named: dict[str, Any] = {}
        for axes in self.axes:
            handles, labels = axes.get_legend_handles_labels()
            named |= dict(zip(labels, handles, strict=True))
        if not named:
            return
        width, height = self.get_size_inches()
        labels = [readable(label, _LETTERS) for label in named]
        each = 0.45 + 0.05 * max(len(line) for label in labels for line in label.split("\n"))
        columns = min(len(named), max(1, int(width / each)))
        rows = -(-len(named) // columns)
        self.set_size_inches(
            width, height + 0.13 * rows * (1 + max(label.count("\n") for label in labels))
        )
        self.legend(
            list(named.values()), labels, loc="outside lower center", ncols=columns,
            borderpad=0, columnspacing=1.2,
        )  # fmt: skip
