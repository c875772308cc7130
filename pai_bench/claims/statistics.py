"""What repeated runs say of a mean: estimates with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, with the ends of its 95 % interval (None below two seeds)."""

    mean: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        """In per cent, as `95.40 ± 0.31`."""
        half = "" if self.high is None else f" ± {100 * (self.high - self.mean):.2f}"
        return f"{100 * self.mean:.2f}{half}"

    @property
    def signed(self) -> str:
        """In points, as `+1.20 ± 0.31`."""
        return f"{'+' if self.mean >= 0 else ''}{self}"


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and Student's t interval of independent values.

    >>> e = estimate([0.90, 0.92, 0.94])
    >>> round(e.mean, 4), round(e.low, 4), round(e.high, 4)
    (0.92, 0.8703, 0.9697)
    """
    n, mean = len(values), fmean(values)
    if n < 2:
        return Estimate(mean, None, None, n)
    half = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * stdev(values) / sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)
