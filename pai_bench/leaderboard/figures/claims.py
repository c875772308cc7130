"""What papers print against what was measured, with the verdicts: one panel per metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from pai_bench.claims.verdicts import Verdict
from pai_bench.core.errors import BenchError
from pai_bench.leaderboard.figures.paper_figure import PALE, WIDTHS, PaperFigure

_MARKS: dict[str, dict[str, Any]] = {
    "reproduced": {"color": "#009E73", "marker": "o"},
    "inconclusive": {"color": "#E69F00", "marker": "D"},
    "not reproduced": {"color": "#D55E00", "marker": "X"},
}
_WIDE = 100
"""Values that differ by such a factor are drawn on log axes."""
_PANELS = 4
"""As many metrics as a page has room for; those with the most claims are shown."""


def draw(suite: str, verdicts: Sequence[Verdict], columns: int) -> PaperFigure:
    """Draw the claims of a suite that print a value and were tested."""
    metrics: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        claim = verdict.claim
        if verdict.test and claim.suite == suite and claim.value and claim.metric:
            unit = f" ({claim.metric.unit})" if claim.metric.unit else ""
            metrics.setdefault(f"{claim.metric.name}{unit}", []).append(verdict)
    if not metrics:
        raise BenchError(f"suite {suite}: no printed value of a paper is tested by its results")
    most = sorted(metrics, key=lambda name: -len(metrics[name]))[:_PANELS]
    across = min(len(most), 2 * columns)
    down = -(-len(most) // across)
    figure = PaperFigure(columns, 0.2 + down * min(3.0, WIDTHS[columns] / across))
    for index, name in enumerate(most, 1):
        axes = figure.add_subplot(down, across, index)
        _panel(axes, metrics[name])
        axes.set_title(name, fontsize=6.5)
        axes.set_xlabel("claimed" if index + across > len(most) else "")
        axes.set_ylabel("measured" if index % across == 1 or across == 1 else "")
    figure.legend_below()
    return figure


def _panel(axes: Axes, verdicts: Sequence[Verdict]) -> None:
    """One point per claim on the line where both are the same, with our 95 % t interval."""
    ends: list[float] = []
    for state, mark in _MARKS.items():
        points = [_point(verdict) for verdict in verdicts if verdict.state == state]
        if points:
            claimed, ours, low, high = zip(*points, strict=True)
            errors = [[o - at for o, at in zip(ours, low, strict=True)],
                      [at - o for o, at in zip(ours, high, strict=True)]]  # fmt: skip
            axes.errorbar(
                claimed, ours, errors, label=state, linestyle="none", elinewidth=0.5,
                markeredgewidth=0.4, markeredgecolor="white", markersize=5, **mark,
            )  # fmt: skip
            ends += [*claimed, *ours]
    lowest, highest = min(ends), max(ends)
    pad = 0.05 * (highest - lowest) or 1.0
    limits = lowest - pad, highest + pad
    if lowest > 0 and highest > _WIDE * lowest:
        axes.set_xscale("log")
        axes.set_yscale("log")
        limits = lowest / 1.5, highest * 1.5
    axes.plot(limits, limits, color=PALE, linewidth=0.7, zorder=1)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_box_aspect(1)


def _point(verdict: Verdict) -> tuple[float, float, float, float]:
    """The printed value, our mean, and the ends of its interval: the mean itself with one seed."""
    assert verdict.claim.value is not None
    assert verdict.test is not None
    ours = verdict.test.ours
    low, high = (ours.mean if end is None else end for end in (ours.low, ours.high))
    return verdict.claim.value.value, ours.mean, low, high
