"""Metrics of any network: accuracy, FLOPs over those of the dense one, spectra before training."""

from __future__ import annotations

from math import log10
from statistics import fmean

from pai_bench.claims.metric_registry import MetricContext, metric
from pai_bench.claims.tolerance import Tolerance
from pai_bench.store.result import Result

RATES = Tolerance(points=0.5, of_error=0.1, spreads=2.0, most=Tolerance(points=2.0, of_error=0.4))
"""Half a point, or a tenth of the error rate where that is less: 98.5 % is no 98.0 %. Spreads
widen it up to four times as much."""
FLOPS = Tolerance(share=0.02)
"""For what one counts or not: biases, activations, padding."""
QUARTER = Tolerance(share=0.25)
"""Of the printed value: the most that spreads of counts and sizes widen a tolerance to."""
SPECTRA = Tolerance(points=0.05, spreads=2.0, most=Tolerance(points=0.2))
"""0.05 decades, or two spreads over seeds, up to 0.2: networks of two seeds have other kernels."""
_ROUNDING = 1e-13
"""Eigenvalues below this part of the largest are rounding errors of float64."""


@metric("accuracy", unit="%", decimals=2, tolerance=RATES, scale="accuracy")
def accuracy(result: Result, context: MetricContext) -> float | None:
    """Part of the evaluated images that is classified rightly."""
    share = _share(result, context)
    return None if share is None else 100 * share


@metric("error", unit="%", decimals=2, tolerance=RATES, scale="error")
def error(result: Result, context: MetricContext) -> float | None:
    """Part of the evaluated images that is classified wrongly."""
    share = _share(result, context)
    return None if share is None else 100 * (1 - share)


@metric("accuracy-after", unit="%", decimals=2, tolerance=RATES, scale="accuracy")
def accuracy_after(result: Result, context: MetricContext) -> float | None:
    """Part of the evaluated images that is classified rightly after so many steps (the column)."""
    share = result.accuracy_after.get(context.column)
    return None if share is None else 100 * share


@metric("training-accuracy", unit="%", decimals=2, tolerance=RATES, scale="accuracy")
def training_accuracy(result: Result) -> float | None:
    """Part of some training images that is classified rightly at the end."""
    return None if result.train_accuracy is None else 100 * result.train_accuracy


def _share(result: Result, context: MetricContext) -> float | None:
    if result.accuracy is None:
        return None
    return result.accuracy.best if context.epoch == "best" else result.accuracy.last


@metric("training-flops", unit="× dense", decimals=3, tolerance=FLOPS, kind="flops")
def training_flops(result: Result, context: MetricContext) -> float | None:
    """FLOPs of the training, scoring included, over those of an ordinary dense one."""
    if result.flops is None or context.images is None:
        return None
    return result.flops.training / (3 * result.flops.inference_dense * context.images)


@metric("inference-flops", unit="× dense", decimals=3, tolerance=FLOPS, kind="flops")
def inference_flops(result: Result) -> float | None:
    """FLOPs of one image, over those of the dense network."""
    flops = result.flops
    return None if flops is None else flops.inference / flops.inference_dense


@metric("largest-eigenvalue", unit="decades", decimals=3, tolerance=SPECTRA, kind="spectrum")
def largest_eigenvalue(result: Result) -> float | None:
    """Logarithm of the largest eigenvalue of the tangent kernel before training."""
    return None if result.spectrum is None else _decades(result.spectrum.eigenvalues)[0]


@metric("spectrum-distance", unit="decades", decimals=3, tolerance=SPECTRA, kind="spectrum")
def spectrum_distance(result: Result) -> float | None:
    """Mean distance of eigenvalues from the dense network's of the same rank, before training."""
    if result.spectrum is None:
        return None
    ours, dense = map(_decades, (result.spectrum.eigenvalues, result.spectrum.dense))
    return fmean(abs(a - b) for a, b in zip(ours, dense, strict=True))


def _decades(eigenvalues: tuple[float, ...]) -> list[float]:
    least = _ROUNDING * max(eigenvalues[0], 1e-300)
    return [log10(max(value, least)) for value in eigenvalues]
