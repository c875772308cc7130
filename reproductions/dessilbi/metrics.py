"""What is measured of dense networks trained by DessiLBI (dense_method.py)."""

from __future__ import annotations

from functools import partial
from typing import Any

from pai_bench.claims.metric_registry import MetricContext, metric
from pai_bench.claims.metrics import QUARTER, RATES
from pai_bench.claims.tolerance import Tolerance
from pai_bench.store.result import Result

rate = partial(metric, unit="%", decimals=2, tolerance=RATES, scale="accuracy")
"""Decorator of accuracies."""
count = partial(metric, decimals=1, tolerance=Tolerance(share=0.02, spreads=2.0, most=QUARTER))
"""Decorator of counts: 2 % of the printed number, or two spreads over runs."""


@rate("dessilbi-accuracy")
def accuracy(result: Result, context: MetricContext) -> float | None:
    """Test accuracy of the weights, projected on the support, or of Gamma in their place."""
    return _per_cent(result.measured.get("accuracy", {}).get(context.column))


@rate("dessilbi-pruned")
def pruned(result: Result, context: MetricContext) -> float | None:
    """Test accuracy after pruning so much of the third convolution by order, not retrained."""
    return _per_cent(_pruned(result, "conv3", context)[0])


@rate("dessilbi-pruned-both")
def pruned_both(result: Result, context: MetricContext) -> float | None:
    """Test accuracy after pruning so much of it, and of the first linear layer, by order."""
    return _per_cent(_pruned(result, "conv3+fc1", context)[0])


@count("dessilbi-filters-left", unit="filters")
def filters_left(result: Result, context: MetricContext) -> float | None:
    """Filters of the third convolution that are left after pruning by order."""
    left: float | None = _pruned(result, "conv3", context)[1]
    return left


@count("dessilbi-weights-left", unit="weights")
def weights_left(result: Result, context: MetricContext) -> float | None:
    """Weights of the first linear layer that are left after pruning by order."""
    left: float | None = _pruned(result, "conv3+fc1", context)[2]
    return left


@count("dessilbi-support", unit="units")
def support(result: Result, context: MetricContext) -> float | None:
    """Filters or weights of a layer (the column) in the support; of `total`, weights of all."""
    found: float | None = result.measured.get("support", {}).get(context.column)
    return found


@count("dessilbi-entered", unit="units")
def entered(result: Result, context: MetricContext) -> float | None:
    """Filters or weights of a layer (the row) first in the support at the end of an epoch."""
    of_layer = result.measured.get("entered", {}).get(context.row)
    return None if of_layer is None else float(of_layer.get(context.column, 0))


@count("dessilbi-last-entry", unit="epochs")
def last_entry(result: Result, context: MetricContext) -> float | None:
    """Last epoch in which a filter or weight of a layer (the row) enters the support."""
    epochs = set(result.measured.get("entered", {}).get(context.row, {})) - {"never"}
    return max(map(float, epochs), default=None)


@metric("dessilbi-norm", decimals=4, tolerance=Tolerance(share=0.02, spreads=2.0, most=QUARTER))
def norm(result: Result, context: MetricContext) -> float | None:
    """Smallest or largest norm of third-convolution filters in the support, or not (the column)."""
    of_layer = result.measured.get("norms", {}).get("conv3", {})
    end, _, part = context.column.partition("-")
    found = of_layer.get(part)
    return None if found is None else float(found[0 if end == "least" else 1])


@count("dessilbi-large-filters", unit="filters")
def large_filters(result: Result) -> float | None:
    """Filters of the third convolution with norm at least .01."""
    found: float | None = result.measured.get("large", {}).get("conv3")
    return found


@count("dessilbi-large-weights", unit="weights")
def large_weights(result: Result) -> float | None:
    """Weights of the first linear layer of magnitude at least .001."""
    found: float | None = result.measured.get("large", {}).get("fc1")
    return found


def _pruned(result: Result, layers: str, context: MetricContext) -> list[Any]:
    """Accuracy and units left at a percentage (the column); None for each that is not there."""
    of_layers = result.measured.get("pruned", {}).get(layers, {})
    return [*of_layers.get(context.column, []), None, None, None]


def _per_cent(share: float | None) -> float | None:
    return None if share is None else 100 * share
