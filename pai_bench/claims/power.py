"""How many seeds would decide a claim, if further ones were like those that there are."""

from __future__ import annotations

from functools import cache
from math import inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr, stdtrit

from pai_bench.claims.claim_tests import ClaimTest

POWER = 0.8
"""Probability of a verdict that is asked for."""
MOST = 1000
"""Beyond that many seeds nothing is promised: the difference lies at an edge of the tolerance."""
NODES = 400
"""Points at which the distribution of the spread of n seeds is taken."""
Floats = NDArray[np.float64]


def seeds_needed(test: ClaimTest, level: float) -> int | None:
    """Least number of seeds that decide a claim with a probability of `POWER`.

    Args:
        test: What is known: its difference and spread over seeds are taken for the true ones, and
            its tolerance for that of more seeds.
        level: Of the two-sided test.

    Returns:
        The number; None where more than `MOST` are needed, or no spread is known.
    """
    if not test.scatter.deviation or decision_probability(test, MOST, level) < POWER:
        return None
    low, high = max(1, test.difference.n), MOST
    while high - low > 1:
        middle = (low + high) // 2
        if decision_probability(test, middle, level) < POWER:
            low = middle
        else:
            high = middle
    return high


def decision_probability(test: ClaimTest, n: int, level: float) -> float:
    """Probability that `n` seeds decide, for the claim or against it.

    Seeds are drawn from a normal distribution with the mean and the spread that were measured. The
    mean of n of them is normal and independent of their spread, which follows chi's distribution
    with n - 1 degrees of freedom. Given the spread, the interval has a fixed width, and lies inside
    the tolerance, or outside, with a probability of the normal distribution (as in Phillips 1990,
    "Power of the two one-sided tests procedure in bioequivalence"). The rest is a mean over the
    quantiles of chi.

    Args:
        test: As in `seeds_needed`.
        n: Number of seeds, at least 2.
        level: Of the two-sided test.
    """
    spread = test.scatter.deviation
    errors, freedom = test.scatter.errors(n, spread * _chi(n - 1))
    half = stdtrit(freedom, 1 - level / 2) * errors
    error, mean = spread / sqrt(n), test.difference.mean
    low = (test.low + half - mean) / error if test.low > -inf else np.full_like(half, -inf)
    high = (test.high - half - mean) / error if test.high < inf else np.full_like(half, inf)
    inside = np.maximum(ndtr(high) - ndtr(low), 0.0)
    below = ndtr((test.low - test.slack - half - mean) / error)
    above = ndtr(-(test.high + test.slack + half - mean) / error)
    return float(np.mean(inside + below + above))


@cache
def _chi(freedom: int) -> Any:
    """Quantiles of the spread over the true one, equally likely."""
    middles = (np.arange(NODES) + 0.5) / NODES
    return np.sqrt(chdtri(freedom, middles) / freedom)
