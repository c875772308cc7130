"""Axes that several figures have: densities, and accuracies where methods differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log10
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator

_ACCURACIES = (0, 20, 40, 50, 60, 70, 80, 85, 90, 95, 96, 97, 98, 99, 99.5, 99.8, 99.9, 99.95)
_LEAST_ERROR = 0.01
"""In per cent: what no error at all is drawn as on a log axis."""
_WIDE = 4
"""Errors that differ by such a factor are told apart on a log axis."""


def density_axis(axes: Axes, densities: Sequence[float], narrow: bool) -> None:
    """Log axis of densities, sparser to the right; the sparsity stands below each of them."""
    axes.set_xscale("log")
    axes.invert_xaxis()
    shown = thinned(sorted(densities), log10, 0.13 if narrow else 0.07)
    _ticks(axes.xaxis, shown, [f"{d:.3g}\n{100 * (1 - d):.4g} %" for d in shown])
    axes.set_xlabel("density, and sparsity below it")


def accuracy_axis(axes: Axes, means: Sequence[float], evaluated: str) -> None:
    """Axis of accuracies in per cent that spans `means`, whatever the bands around them.

    Where errors differ by a factor of 4 or more it is their logarithm that is even, so that 97 and
    98 are as far apart as 80 and 87.
    """
    error = [max(100 - mean, _LEAST_ERROR) for mean in means]
    wide = max(error) >= _WIDE * min(error)
    if wide:
        axes.set_yscale("function", functions=(_by_error, _of_error))
    scale: Callable[[Any], Any] = _by_error if wide else float
    low, high = float(scale(min(means))), float(scale(max(means)))
    pad = 0.06 * (high - low) or 1.0
    ends = low - pad, high + pad
    back: Callable[[Any], Any] = _of_error if wide else float
    axes.set_ylim(max(0.0, float(back(ends[0]))), min(100 - _LEAST_ERROR, float(back(ends[1]))))
    if wide:
        inside = [a for a in _ACCURACIES if axes.get_ylim()[0] <= a <= axes.get_ylim()[1]]
        shown = thinned(inside, lambda a: float(_by_error(a)), 0.08)
        _ticks(axes.yaxis, shown, [f"{accuracy:g}" for accuracy in shown])
    axes.set_ylabel(f"{evaluated} accuracy (%)")


def _by_error(accuracy: Any) -> Any:
    return -np.log10(np.maximum(100 - np.asarray(accuracy, dtype=float), _LEAST_ERROR))


def _of_error(scaled: Any) -> Any:
    return 100 - 10 ** -np.asarray(scaled, dtype=float)


def _ticks(axis: Any, places: Sequence[float], labels: Sequence[str]) -> None:
    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FixedFormatter(labels))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def thinned(places: Sequence[float], scale: Callable[[float], float], share: float) -> list[float]:
    """Leave out places whose labels would overlap: nearer than `share` of the whole scale.

    >>> thinned([0.01, 0.011, 0.1, 1.0], log10, 0.1)
    [0.01, 0.1, 1.0]
    """
    if not places:
        return []
    gap = share * abs(scale(places[-1]) - scale(places[0]))
    kept = [places[0]]
    for place in places[1:]:
        if abs(scale(place) - scale(kept[-1])) >= gap:
            kept.append(place)
    return kept
