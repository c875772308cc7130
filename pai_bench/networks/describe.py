"""Parameters and FLOPs of a network, counted on the meta device without any computation."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pai_bench import networks
from pai_bench.config.schema import Network
from pai_bench.core.errors import BenchError, first_line
from pai_bench.sparsity.account import macs_by_layer
from pai_bench.sparsity.masks import prunable


@dataclass(frozen=True)
class Description:
    """Sizes of a network, and what one forward pass of one input costs without masks."""

    parameters: int
    """Trained values: weights, biases, normalisation."""
    prunable: int
    """Weights that masks cover."""
    tensors: int
    """Weight tensors that masks cover."""
    macs: int
    """Multiply-accumulates of all conv and linear layers, prunable or not."""
    flops: int
    """Two for each multiply-accumulate."""


def describe(settings: Network, shape: networks.Shape, classes: int) -> Description:
    """Count parameters and FLOPs of a network, built on torch's meta device.

    Raises:
        BenchError: The network cannot be built, or does not take inputs of `shape`.
    """
    with torch.device("meta"):
        network = networks.build(settings, shape, classes)
    try:
        macs = sum(macs_by_layer(network, shape).values())
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise BenchError(f"network {settings.build} on inputs of {shape}: {reason}") from error
    weights = [weight for _, weight in prunable(network)]
    return Description(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        prunable=sum(weight.numel() for weight in weights),
        tensors=len(weights),
        macs=macs,
        flops=2 * macs,
    )
