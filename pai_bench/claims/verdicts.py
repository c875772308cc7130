"""Claims against results: reproduced, not reproduced, inconclusive or not run.

Every verdict rests on at least three seeds, a 95 % Student t interval and a test at 5 %.

**A printed value**. The difference is our mean minus the printed value, with Welch's standard
error where the paper prints a spread and a number of runs, else with ours alone. The tolerance
around 0 is how exactly the value can be read (rounding, or the error of reading a figure) plus what
the claim's metric declares (`Tolerance` in metric_registry.py): the larger of

* the least of so many points, a part of the claimed error rate and a part of the printed value, and
* some spreads over runs: the root mean square of the paper's standard deviation and ours.

How much that is, and why, stands beside each metric: in claims/metrics.py and in the metrics.py of
the papers.

*Reproduced*: the interval of the difference lies inside the tolerance (two one-sided tests).
*Not reproduced*: the interval and the tolerance have no point in common. Otherwise *inconclusive*.
Where only "below x" can be read off a figure, the tolerance has no lower end.

**One method above another**. Differences are paired by seed. *Reproduced*: their interval lies
above 0; *not reproduced*: it lies below 0; otherwise *inconclusive*.

**Many claims at once**. The p-values of all tested claims of a paper are one family, adjusted by
Holm's procedure; a verdict needs an adjusted p below 5 %. What an interval shows alone and not
among all others is inconclusive, and said so. With three seeds few claims can get a verdict.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isclose, sqrt
from statistics import stdev
from typing import Literal

from scipy.special import stdtr, stdtrit

from pai_bench.claims.lookup import NOT_YET, ResultLookup
from pai_bench.claims.metric_registry import Kind
from pai_bench.claims.paired_tests import holm
from pai_bench.claims.schema import Claim, Claims, Printed, hyper_of
from pai_bench.claims.statistics import CONFIDENCE, Estimate, estimate

State = Literal["reproduced", "not reproduced", "inconclusive", "not run"]
STATES: tuple[State, ...] = ("reproduced", "not reproduced", "inconclusive", "not run")
SEEDS = 3
"""Fewest seeds of a verdict."""
RULES: Mapping[Kind, str] = {
    "absolute": "the 95 % t interval of our mean minus the printed value lies inside the tolerance",
    "flops": "the 95 % t interval of our ratio minus the printed one lies inside the tolerance",
    "size": "the 95 % t interval of our mean minus the printed size lies inside the tolerance",
    "ordering": "the 95 % t interval of the differences, paired by seed, lies above 0",
}
"""When a claim is reproduced, in a line; Holm's adjusted p must be below 5 % too."""


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
    """Two-sided p of the hypothesis that it is."""

    @property
    def p(self) -> float:
        """The smaller one: at most one of the two hypotheses can be rejected."""
        return min(self.p_inside, self.p_outside)


@dataclass(frozen=True)
class Verdict:
    """What became of one claim, with all that it rests on."""

    claim: Claim
    state: State
    reason: str
    n: int = 0
    test: ClaimTest | None = None
    adjusted: float | None = None
    """p among all tested claims of the paper."""
    deviations: tuple[str, ...] = ()
    """Known differences between our cells and what the paper ran."""
    command: str = ""
    """What runs the claim's cells again."""


def judge(claims: Claims, measured: ResultLookup) -> list[Verdict]:
    """Judge every claim of a paper by what was measured."""
    verdicts = [_alone(claim, claims, measured) for claim in claims.claims]
    tested = [index for index, verdict in enumerate(verdicts) if verdict.n >= SEEDS]
    tests = [test for index in tested if (test := verdicts[index].test) is not None]
    for index, test, adjusted in zip(tested, tests, holm([test.p for test in tests]), strict=True):
        verdicts[index] = _decided(verdicts[index], test, adjusted, len(tests))
    return verdicts


def tally(verdicts: Iterable[Verdict]) -> dict[State, int]:
    """Count verdicts by state."""
    states = [verdict.state for verdict in verdicts]
    return {state: states.count(state) for state in STATES}


def _alone(claim: Claim, claims: Claims, measured: ResultLookup) -> Verdict:
    """Test one claim, not yet among the others."""
    if claim.untestable or claim.suite is None:
        return Verdict(claim, "not run", claim.untestable or "no suite runs it")
    parts = [(claim.method, claim.suite), (claim.against, claim.against_suite)]
    compared = [(method, suite) for method, suite in parts if method is not None and suite]
    suites = claims.content.suites
    deviations = tuple(dict.fromkeys(d for _, suite in compared for d in suites[suite].deviations))
    measurements = [measured.values(claim, method, suite) for method, suite in compared]
    reasons = [values for values in measurements if isinstance(values, str)]
    if reasons:
        again = command(claim) if set(reasons) == {NOT_YET} else ""
        return Verdict(claim, "not run", reasons[0], deviations=deviations, command=again)
    test, n = _tested(claim, [values for values in measurements if not isinstance(values, str)])
    by_counting = all(measured.is_counted(claim, method, suite) for method, suite in compared)
    again = command(claim, "account" if by_counting else "run")
    verdict = Verdict(claim, "inconclusive", "", n, test, None, deviations, again)
    few = f"{n} seed{'s' * (n != 1)}, a verdict needs {SEEDS}"
    return replace(verdict, reason=few) if n < SEEDS else verdict


def _tested(claim: Claim, by_seed: Sequence[Mapping[int, float]]) -> tuple[ClaimTest | None, int]:
    if claim.value is None:
        seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
        differences = [by_seed[0][seed] - by_seed[1][seed] for seed in seeds]
        return (above(differences) if seeds else None), len(seeds)
    values = [by_seed[0][seed] for seed in sorted(by_seed[0])]
    return equal(values, claim.value, tolerance(values, claim)), len(values)


def tolerance(values: Sequence[float], claim: Claim) -> float:
    """How far our mean may lie from the printed value (see the top of this file)."""
    printed, metric = claim.value, claim.metric
    if printed is None or metric is None:
        return 0.0
    spreads = [s for s in (printed.spread, _deviation(values)) if s is not None]
    spread = sqrt(sum(s * s for s in spreads) / len(spreads)) if spreads else 0.0
    return printed.precision + metric.margin(printed.value, spread)


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def equal(values: Sequence[float], printed: Printed, margin: float) -> ClaimTest:
    """Test whether our mean is that printed, within `margin`: two one-sided tests."""
    ours, difference = estimate(values), estimate([v - printed.value for v in values])
    low = -inf if printed.bound else -margin
    if len(values) < 2:
        return ClaimTest(ours, difference, low, margin, 1.0, 1.0)
    error, freedom = _welch(values, printed)
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    mean = difference.mean
    difference = Estimate(mean, mean - half, mean + half, difference.n)
    return ClaimTest(ours, difference, low, margin, *_p_values(mean, low, margin, error, freedom))


def above(differences: Sequence[float]) -> ClaimTest:
    """Test whether paired differences are above 0 in the mean."""
    difference = estimate(differences)
    if len(differences) < 2:
        return ClaimTest(difference, difference, 0.0, inf, 1.0, 1.0)
    error = stdev(differences) / sqrt(len(differences))
    p_values = _p_values(difference.mean, 0.0, inf, error, len(differences) - 1)
    return ClaimTest(difference, difference, 0.0, inf, *p_values)


def _welch(values: Sequence[float], printed: Printed) -> tuple[float, float]:
    """Standard error of the difference of two means and its degrees of freedom."""
    ours, freedom = stdev(values) ** 2 / len(values), len(values) - 1
    if printed.spread is None or printed.n is None or printed.n < 2:
        return sqrt(ours), freedom
    theirs = printed.spread**2 / printed.n
    if ours + theirs == 0:
        return 0.0, freedom
    parts = ours**2 / freedom + theirs**2 / (printed.n - 1)
    return sqrt(ours + theirs), (ours + theirs) ** 2 / parts


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


def _decided(verdict: Verdict, test: ClaimTest, adjusted: float, family: int) -> Verdict:
    """Give a verdict by the p-value among all tested claims."""
    inside = test.p_inside < test.p_outside
    level = 1 - CONFIDENCE
    state: State = "inconclusive"
    if adjusted < level:
        state = "reproduced" if inside else "not reproduced"
    reason = _where(verdict.claim, test, inside, test.p < level)
    if test.p < level <= adjusted:
        reason += f", alone, but not among all {family} tested claims: more seeds are needed"
    return replace(verdict, state=state, reason=reason, adjusted=adjusted)


def _where(claim: Claim, test: ClaimTest, inside: bool, clear: bool) -> str:
    """Say where the interval lies."""
    if claim.kind == "ordering":
        side = ("above 0" if inside else "below 0") if clear else "on both sides of 0"
        return f"the interval of the difference lies {side}"
    side = ("inside" if inside else "outside") if clear else "partly inside"
    return f"the interval of the difference lies {side} the tolerance"


def command(claim: Claim, verb: str = "run") -> str:
    """The command that runs the cells of a claim again, or counts them."""
    by_suite: dict[str, list[str]] = {}
    for entry, suite in ((claim.method, claim.suite), (claim.against, claim.against_suite)):
        if entry is not None and suite:
            by_suite.setdefault(suite, []).append(hyper_of(entry)[0])
    densities = "" if claim.density == 1 else f" --densities {claim.at}"
    options = {suite: ",".join(dict.fromkeys(methods)) for suite, methods in by_suite.items()}
    return " && ".join(
        f"pai-bench {verb} {shlex.quote(suite)} --methods {methods}{densities}"
        for suite, methods in options.items()
    )
