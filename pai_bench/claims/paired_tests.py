"""What repeated runs say of a difference: intervals, probability of improvement, many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pai_bench.claims.statistics import CONFIDENCE, Estimate, estimate

RESAMPLES = 9999
"""Bootstrap samples; the generator is seeded, so that a table is the same each time."""


@dataclass(frozen=True)
class Comparison:
    """One method minus another, over the seeds that both have."""

    seeds: tuple[int, ...]
    ours: float
    """Mean of the first method over these seeds."""
    theirs: float
    difference: Estimate
    """With Student's t interval of the paired differences."""
    bootstrap: tuple[float, float] | None
    """Percentile interval of the mean difference, seeds resampled; None below two seeds."""
    improvement: float
    """Probability that a run of the first method is above one of the second."""


def compare(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Comparison | None:
    """Compare two methods by their values per seed; None when they have no seed in common.

    Both runs of a seed started from the same weights and saw the same batches, so differences are
    taken seed by seed.
    """
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if not seeds:
        return None
    ours_, theirs_ = [ours[s] for s in seeds], [theirs[s] for s in seeds]
    differences = [a - b for a, b in zip(ours_, theirs_, strict=True)]
    return Comparison(
        seeds=seeds,
        ours=fmean(ours_),
        theirs=fmean(theirs_),
        difference=estimate(differences),
        bootstrap=bootstrap_interval(differences),
        improvement=probability_of_improvement(ours_, theirs_),
    )


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean; None below two values.

    With few values it is too narrow (three have ten different resamples): read it beside the t
    interval, which assumes a normal distribution instead.
    """
    if len(values) < 2:
        return None
    import numpy as np
    from scipy import stats

    interval = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def probability_of_improvement(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Share of all pairs of runs in which ours is above theirs, ties counting half.

    Agarwal et al. 2021 (NeurIPS), section 4.3: the Mann-Whitney statistic over the number of pairs.

    >>> probability_of_improvement([0.9, 0.8], [0.7, 0.8])
    0.875
    """
    wins = sum((a > b) + 0.5 * (a == b) for a in ours for b in theirs)
    return wins / (len(ours) * len(theirs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of any false rejection among them is bounded (Holm 1979).

    >>> [round(p, 2) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted, floor = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted
