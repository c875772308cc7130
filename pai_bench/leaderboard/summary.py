"""One number per line of a board: mean rank, area under the curve, interquartile mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log

from pai_bench.leaderboard.board import Board, Row

Point = tuple[float, int]
"""A density and a seed."""


@dataclass(frozen=True)
class Summary:
    """A line over the part of the grid that all lines have."""

    label: str
    rank: float
    """Mean over densities and seeds of the rank by accuracy, 1 for the highest, ties shared."""
    area: float | None
    """Area under mean accuracy over the logarithm of density, divided by the width: the mean
    accuracy where each factor of density counts alike. None with one density."""
    middle: float
    """Interquartile mean of all runs: without the lowest and the highest quarter."""


@dataclass(frozen=True)
class Summaries:
    """The lines of a board that prune, by mean rank, and what they are summed up over."""

    lines: tuple[Summary, ...]
    densities: tuple[float, ...]
    runs: int
    """Densities times seeds: runs of each line."""


def summarise(board: Board) -> Summaries | None:
    """Sum up a board; None where fewer than two lines share a part of the grid.

    A line without any result is left out. All others are compared where all of them have one, so
    that no line gains by what it has not run.
    """
    values: dict[str, dict[Point, float]] = {}
    for row in board.rows:
        if row.density < 1 and (by_seed := _points(row)):
            values.setdefault(row.label, {}).update(by_seed)
    common = set.intersection(*map(set, values.values())) if values else set()
    if len(values) < 2 or not common:
        return None
    points = sorted(common, reverse=True)
    lines = _summaries(values, points)
    densities = tuple(dict.fromkeys(density for density, _ in points))
    return Summaries(tuple(sorted(lines, key=lambda s: s.rank)), densities, len(points))


def _points(row: Row) -> dict[Point, float]:
    return {(row.density, seed): value for seed, value in row.by_seed.items()}


def _summaries(values: Mapping[str, Mapping[Point, float]], points: list[Point]) -> list[Summary]:
    import numpy as np
    from scipy import stats

    table = np.array([[of_line[point] for point in points] for of_line in values.values()])
    ranks = stats.rankdata(-table, axis=0).mean(axis=1)
    middles = stats.trim_mean(table, 0.25, axis=1)
    return [
        Summary(label, float(rank), area_under_curve(values[label], points), float(middle))
        for label, rank, middle in zip(values, ranks, middles, strict=True)
    ]


def area_under_curve(values: Mapping[Point, float], points: list[Point]) -> float | None:
    """Mean accuracy over log density by the trapezoid rule; None with a single density.

    >>> round(area_under_curve({(0.1, 1): 0.9, (0.01, 1): 0.5}, [(0.1, 1), (0.01, 1)]), 6)
    0.7
    """
    import numpy as np

    densities = sorted({density for density, _ in points})
    if len(densities) < 2:
        return None
    means = [np.mean([values[p] for p in points if p[0] == density]) for density in densities]
    width = log(densities[-1]) - log(densities[0])
    return float(np.trapezoid(means, np.log(densities))) / width
