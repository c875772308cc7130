"""Tests of single claims: is our mean the printed one, is one method above another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isclose, sqrt
from statistics import stdev
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from pai_bench.claims.printed import Printed
from pai_bench.claims.schema import Claim
from pai_bench.claims.statistics import CONFIDENCE, Estimate, estimate
from pai_bench.claims.tolerance import Margin


@dataclass(frozen=True)
class Scatter:
    """How far a difference may be off by chance."""

    deviation: float
    """Standard deviation of ours over seeds, 0 where one seed tells none."""
    theirs: float = 0.0
    """Squared standard error of the printed mean."""
    their_freedom: int = 0
    """Degrees of freedom of that; 0 where it is not printed."""

    def errors(self, n: int, deviation: Any) -> tuple[Any, Any]:
        """Standard error of the difference and its degrees of freedom (Welch 1947).

        Args:
            n: Number of our seeds.
            deviation: Of them, a number or an array of numbers.
        """
        ours = deviation**2 / n
        if not self.their_freedom:
            return np.sqrt(ours), n - 1
        both = ours + self.theirs
        parts = ours**2 / (n - 1) + self.theirs**2 / self.their_freedom
        return np.sqrt(both), both**2 / parts if np.all(parts) else n - 1


@dataclass(frozen=True)
class ClaimTest:
    """What results say of one claim: a difference, what it may be, and two p-values."""

    ours: Estimate
    difference: Estimate
    """Ours minus the printed value, or one method minus the other; points, or relative FLOPs."""
    low: float
    high: float
    """Ends of the differences that the claim allows."""
    p_inside: float
    """Two-sided p of the hypothesis that the difference is not between these ends."""
    p_outside: float
    """Two-sided p of the hypothesis that it is, or is `slack` outside at most."""
    scatter: Scatter
    slack: float = 0.0
    """How far outside a difference may lie by the scatter of single runs."""

    @property
    def p(self) -> float:
        """The smaller one: at most one of the two hypotheses can be rejected."""
        return min(self.p_inside, self.p_outside)


def tolerance(values: Sequence[float], claim: Claim) -> Margin:
    """How far our mean may lie from the printed value (see the top of verdicts.py)."""
    printed, metric = claim.value, claim.metric
    if printed is None or metric is None:
        return Margin(0.0, 0.0)
    spreads = [s for s in (printed.spread, _deviation(values)) if s is not None]
    spread = sqrt(sum(s * s for s in spreads) / len(spreads)) if spreads else 0.0
    margin = metric.margin(printed.value, spread).at_least(claim.allowance * printed.value)
    return margin.plus(printed.precision)


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def least_alike(values: Mapping[int, Mapping[int, float]], claim: Claim) -> ClaimTest:
    """Test each run that the authors printed against its replicas; give the one that agrees least.

    All of them must agree, so the largest p of "not inside" is that of the claim; the p of "inside"
    is Bonferroni's, for it is of one that was chosen.

    Args:
        values: By the authors' run, from 1, then by replica.
        claim: With as many printed values.
    """
    assert claim.value is not None
    tests = []
    for run, printed in enumerate(claim.value.of_runs, 1):
        of_run = [values[run][number] for number in sorted(values[run])]
        tests.append(equal(of_run, printed, tolerance(of_run, replace(claim, value=printed))))
    worst = max(tests, key=lambda test: (test.p_inside, abs(test.difference.mean) - test.high))
    return replace(worst, p_outside=min(1.0, len(tests) * worst.p_outside))


def equal(values: Sequence[float], printed: Printed, margin: Margin) -> ClaimTest:
    """Test whether our mean is that printed, within `margin`: two one-sided tests."""
    ours, difference = estimate(values), estimate([v - printed.value for v in values])
    low = -inf if printed.side == "<" else -margin.within
    high = inf if printed.side == ">" else margin.within
    slack = margin.beyond - margin.within
    if len(values) < 2:
        return ClaimTest(ours, difference, low, high, 1.0, 1.0, Scatter(0.0), slack)
    scatter = _scatter(values, printed)
    error, freedom = scatter.errors(len(values), scatter.deviation)
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2) * error)
    mean = difference.mean
    difference = Estimate(mean, mean - half, mean + half, difference.n)
    inside, _ = _p_values(mean, low, high, error, freedom)
    _, outside = _p_values(mean, low - slack, high + slack, error, freedom)
    return ClaimTest(ours, difference, low, high, inside, outside, scatter, slack)


def above(differences: Sequence[float]) -> ClaimTest:
    """Test whether paired differences are above 0 in the mean."""
    difference = estimate(differences)
    if len(differences) < 2:
        return ClaimTest(difference, difference, 0.0, inf, 1.0, 1.0, Scatter(0.0))
    scatter = Scatter(stdev(differences))
    error, freedom = scatter.errors(len(differences), scatter.deviation)
    p_values = _p_values(difference.mean, 0.0, inf, error, freedom)
    return ClaimTest(difference, difference, 0.0, inf, *p_values, scatter)


def _scatter(values: Sequence[float], printed: Printed) -> Scatter:
    if printed.spread is None or printed.n is None or printed.n < 2:
        return Scatter(stdev(values))
    return Scatter(stdev(values), printed.spread**2 / printed.n, printed.n - 1)


def _p_values(
    mean: float, low: float, high: float, error: float, freedom: float
) -> tuple[float, float]:
    """Two-sided p of "not inside" and of "inside" low..high."""
    below, over = (_tail(x, error, freedom) for x in (low - mean, mean - high))
    inside = max(_tail(mean - low, error, freedom), _tail(high - mean, error, freedom))
    return min(1.0, 2 * inside), min(1.0, 2 * min(below, over))


def _tail(distance: float, error: float, freedom: float) -> float:
    """Probability that chance alone makes at least `distance` of a mean that is 0."""
    if isclose(distance, 0.0, abs_tol=1e-12):
        return 0.5
    if error < 1e-12:
        return 0.0 if distance > 0 else 1.0
    return float(stdtr(freedom, -distance / error))
