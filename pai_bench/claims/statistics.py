"""What repeated runs say of a mean: estimates with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isqrt, sqrt
from statistics import fmean

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


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of two or more samples, exact until it is rounded, as `statistics.stdev`.

    That one takes six times as long, and a page of ten thousand results needs thousands of them.

    >>> deviation([1.0, 2.0, 4.0])
    1.5275252316519468
    """
    ratios = [float(value).as_integer_ratio() for value in values]
    unit, n = max(below for _, below in ratios), len(ratios)
    whole = [above * (unit // below) for above, below in ratios]  # denominators are powers of two
    squares = n * sum(k * k for k in whole) - sum(whole) ** 2
    return _root(squares, n * (n - 1) * unit * unit)


def _root(above: int, below: int) -> float:
    """Square root of a fraction, rounded once: of 64 bits, the last says whether more follow."""
    shift = (above.bit_length() - below.bit_length() - 129) // 2
    if shift >= 0:
        below <<= 2 * shift
    else:
        above <<= -2 * shift
    root = isqrt(above // below)
    root |= root * root * below != above
    return root * 2.0**shift if shift > -1000 else root / 2**-shift


@cache
def _quantile(freedom: int) -> float:
    """Of Student's t distribution, at the upper end of the interval."""
    return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and Student's t interval of independent values.

    >>> e = estimate([0.90, 0.92, 0.94])
    >>> round(e.mean, 4), round(e.low, 4), round(e.high, 4)
    (0.92, 0.8703, 0.9697)
    """
    n, mean = len(values), fmean(values)
    if n < 2:
        return Estimate(mean, None, None, n)
    half = _quantile(n - 1) * deviation(values) / sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)
