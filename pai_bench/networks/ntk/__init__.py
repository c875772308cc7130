"""The empirical neural tangent kernel, without the Jacobian that it is made of.

K[i, j, a, b] = sum over parameters p of (d f_a(x1_i) / dp) (d f_b(x2_j) / dp). Each layer's part is
a product of what goes into it and of the outputs' derivatives by what comes out (`layers.py`): the
whole Jacobian is never formed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from pai_bench.core.errors import BenchError
from pai_bench.networks.ntk import chain, hooks, jacobian, layers
from pai_bench.networks.ntk.layers import Trace

Tangent = Literal["dense", "masked"]
Method = Literal["auto", "chain", "hooks", "jacobian"]
MEMORY_MB = 1024.0


def empirical_ntk(
    network: nn.Module,
    x1: Tensor,
    x2: Tensor,
    tangent: Tangent = "dense",
    masks: Mapping[str, Tensor] | None = None,
    method: Method = "auto",
    memory_mb: float = MEMORY_MB,
    parameters: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Compute the kernel between inputs `x1` (n1, ...) and `x2` (n2, ...): (n1, n2, k, k).

    All parameters count, biases and the scales and shifts of batch norms included; `parameters`
    stand in for the network's own, and gradients flow back to those of them that require any.
    With `tangent="masked"`, the directions of weights that `masks` drop are left out; the values
    of the weights are taken as they are, in both.

    `method` says how the derivatives are found: `chain` by hand, for an nn.Sequential of common
    layers; `hooks` by autograd, for any network whose parameters belong to linear layers,
    convolutions and batch norms; `jacobian` in full by torch.func, for everything else. `auto`
    takes the first that can be had. About `memory_mb` are taken for the derivatives of one
    layer's weights at a time.

    Raises BenchError for a network in training mode that would mix images or draw at random, for
    a masked tangent without masks, and for a method that the network is not made for.
    """
    both = torch.cat([x1, x2])
    return outputs_and_kernel(
        network, both, len(x1), tangent, masks, method, memory_mb, parameters
    )[1]


def outputs_and_kernel(
    network: nn.Module,
    images: Tensor,
    first: int,
    tangent: Tangent = "dense",
    masks: Mapping[str, Tensor] | None = None,
    method: Method = "auto",
    memory_mb: float = MEMORY_MB,
    parameters: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the outputs (n, k) of all images, and the kernel of the `first` with the others.

    As `empirical_ntk`, from one forward pass.
    """
    _check(network, tangent, masks)
    given = dict(parameters or network.named_parameters())
    dropped = masks if tangent == "masked" else None
    if method in ("auto", "chain") and chain.can(network):
        trace = chain.trace(network, given, images)
    elif method in ("auto", "hooks") and hooks.can(network):
        trace = hooks.trace(network, given, images)
    elif method in ("auto", "jacobian"):
        return jacobian.outputs_and_kernel(network, given, images, first, dropped)
    else:
        raise BenchError(f"method {method}: this network is not made of what it knows; try auto")
    return trace.outputs, layers.kernel(trace, first, dropped, memory_mb)


def _check(network: nn.Module, tangent: Tangent, masks: Mapping[str, Tensor] | None) -> None:
    if tangent == "masked" and masks is None:
        raise BenchError('tangent="masked" needs masks: which directions are left out?')
    for name, module in network.named_modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if (norm or isinstance(module, nn.modules.dropout._DropoutNd)) and module.training:
            raise BenchError(
                f"{name} is in training mode, in which an image has no derivative of its own: "
                "call network.eval()"
            )
        if norm and not module.track_running_stats:
            raise BenchError(f"{name} keeps no running statistics: it mixes the images of a batch")


__all__ = ["Trace", "empirical_ntk", "outputs_and_kernel"]
