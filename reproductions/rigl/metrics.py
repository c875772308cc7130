"""Sizes in memory, and of the compacted network: a perceptron without dead neurons (table 2)."""

from __future__ import annotations

from functools import partial

from pai_bench.claims.metric_registry import metric
from pai_bench.claims.metrics import FLOPS, QUARTER
from pai_bench.claims.tolerance import Tolerance
from pai_bench.store.result import Result

size = partial(metric, kind="size", tolerance=Tolerance(share=0.02, spreads=2.0, most=QUARTER))
"""Decorator of these metrics: 2 % of the printed value, or two spreads over runs."""


@size("compacted-inputs", unit="inputs", aliases=("left-inputs",))
def inputs(result: Result) -> float | None:
    """Inputs that are connected to a neuron."""
    return None if result.architecture is None else result.architecture.units[0]


@size("compacted-first", unit="neurons", aliases=("left-first",))
def first(result: Result) -> float | None:
    """Neurons of the first hidden layer."""
    return _hidden(result, 1)


@size("compacted-second", unit="neurons", aliases=("left-second",))
def second(result: Result) -> float | None:
    """Neurons of the second hidden layer."""
    return _hidden(result, 2)


@size("compacted-sparsity", aliases=("left-sparsity",))
def sparsity(result: Result) -> float | None:
    """Sparsity of the compacted network."""
    return None if result.architecture is None else result.architecture.sparsity


@size("compacted-kflops", unit="kFLOPs", aliases=("left-kflops",))
def kflops(result: Result) -> float | None:
    """FLOPs of one image, in thousands: 2 for each kept weight."""
    return None if result.architecture is None else result.architecture.flops / 1000


@size("compacted-bytes", unit="bytes", aliases=("left-bytes",))
def size_in_bytes(result: Result) -> float | None:
    """Bytes of weights, biases and masks."""
    return None if result.architecture is None else result.architecture.bytes


@metric("network-megabytes", unit="MB", decimals=3, kind="size", tolerance=Tolerance(share=0.005))
def megabytes(result: Result) -> float | None:
    """Weights, biases and masks of the whole network in memory, in millions of bytes."""
    return None if result.sparse_bytes is None else result.sparse_bytes / 1e6


@metric("inference-megaflops", unit="MFLOPs", decimals=3, kind="flops", tolerance=FLOPS)
def megaflops(result: Result) -> float | None:
    """FLOPs of one image, in millions: 2 for each multiply-accumulate."""
    return None if result.flops is None else result.flops.inference / 1e6


def _hidden(result: Result, number: int) -> float | None:
    """Neurons of a hidden layer; None if there are fewer layers."""
    units = () if result.architecture is None else result.architecture.units
    return units[number] if number < len(units) - 1 else None
