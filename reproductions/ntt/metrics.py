"""What the authors' notebooks print of a transfer, step by step."""

from __future__ import annotations

from functools import partial

from pai_bench.claims.metric_registry import MetricContext, metric
from pai_bench.claims.metrics import QUARTER
from pai_bench.claims.tolerance import Tolerance
from pai_bench.store.result import Result

printed = partial(metric, kind="replay", tolerance=Tolerance(share=1e-5, spreads=3.0, most=QUARTER))
"""Decorator of these metrics: a hundred-thousandth, by which sums of float32 of two programs may
differ, or three spreads over replicas, for each printed value is of a single run."""


@printed("transfer-loss")
def loss(result: Result, context: MetricContext) -> float | None:
    """Loss of the transfer on 64 images that are held out, L2 term included."""
    return _replayed(result, context, "transfer-loss")


@printed("transfer-kernel")
def kernel(result: Result, context: MetricContext) -> float | None:
    """Mean squared difference of the tangent kernels."""
    return _replayed(result, context, "transfer-kernel")


@printed("transfer-output")
def output(result: Result, context: MetricContext) -> float | None:
    """Mean squared difference of the logits."""
    return _replayed(result, context, "transfer-output")


@printed("transfer-weights")
def weights(result: Result, context: MetricContext) -> float | None:
    """Sum of the squared weights that are kept."""
    return _replayed(result, context, "transfer-weights")


def _replayed(result: Result, context: MetricContext, quantity: str) -> float | None:
    return result.replayed.get(context.column, {}).get(quantity)
