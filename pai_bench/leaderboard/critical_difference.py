"""Which mean ranks differ: Friedman's test and Nemenyi's critical difference.

J. Demšar, *Statistical Comparisons of Classifiers over Multiple Data Sets*, JMLR 7 (2006), section
3.2. Its data sets are the (density, seed) pairs that all lines of a board share. Those of one seed,
or of one density, are not independent, so that both say more than they know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from pai_bench.claims.statistics import CONFIDENCE


@dataclass(frozen=True)
class RankTest:
    """What mean ranks over blocks say of the lines that they are of."""

    chi_squared: float
    """Friedman's statistic."""
    p: float
    """Of the hypothesis that all lines are alike, by the F statistic of Iman and Davenport."""
    critical: float
    """Mean ranks that are so far apart differ (Nemenyi, 5 % for all pairs together)."""


def rank_test(ranks: Sequence[float], blocks: int) -> RankTest:
    """Test mean ranks over `blocks`, of two lines or more.

    The example of the paper, four classifiers on 14 data sets:

    >>> found = rank_test([3.143, 2.000, 2.893, 1.964], 14)
    >>> round(found.chi_squared, 2), round(found.critical, 2)
    (9.28, 1.25)
    """
    from scipy.stats import f, studentized_range

    k = len(ranks)
    squares = sum(rank**2 for rank in ranks) - k * (k + 1) ** 2 / 4
    chi_squared = 12 * blocks / (k * (k + 1)) * squares
    left = blocks * (k - 1) - chi_squared
    ratio = (blocks - 1) * chi_squared / left if left > 1e-9 else inf
    p = float(f.sf(ratio, k - 1, (k - 1) * (blocks - 1))) if blocks > 1 else 1.0
    quantile = float(studentized_range.ppf(CONFIDENCE, k, inf)) / sqrt(2)
    return RankTest(chi_squared, p, quantile * sqrt(k * (k + 1) / (6 * blocks)))


def alike(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """Find the longest runs of ascending `ranks` in which no two differ: first and last of each.

    >>> alike([1.0, 1.5, 2.2, 4.0, 4.1], 1.0)
    [(0, 1), (1, 2), (3, 4)]
    """
    runs: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(i for i, other in enumerate(ranks) if other - rank < critical)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs
