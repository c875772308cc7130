"""The empirical neural tangent kernel, computed without forming the Jacobian.

K[i, j, a, b] = sum over parameters p of (d f_a(x1_i) / dp) (d f_b(x2_j) / dp). Each layer's part is
a product of its inputs and of the derivatives of the network's outputs by the layer's outputs
(`layers.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from pai_bench.core.errors import BenchError, first_line
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
    verify: bool = False,
) -> Tensor:
    """Compute the empirical neural tangent kernel between two batches of inputs.

    K[i, j, a, b] is the sum over all parameters p of (d f_a(x1_i) / dp) (d f_b(x2_j) / dp) (Jacot,
    Gabriel and Hongler 2018, section 4, for a finite network). Biases and the scales and shifts of
    batch norms count too.

    Args:
        network: A network with outputs (n, k), in evaluation mode.
        x1: Inputs (n1, ...).
        x2: Inputs (n2, ...).
        tangent: `masked` leaves out the directions of weights that `masks` drop; the values of the
            weights are used as they are, in both.
        masks: Parameter name -> bool mask, for a masked tangent.
        method: How derivatives are computed: `chain` layer by layer, for an nn.Sequential of common
            layers; `hooks` by autograd, for any network whose parameters belong to linear layers,
            convolutions and batch norms, of exactly these types, are not shared, and are used by
            calls of their layers alone, which is checked; `jacobian` in full by torch.func, for any
            other. `auto` takes the first that supports the network.
        memory_mb: Approximate MiB for the derivatives by one layer's weights at a time.
        parameters: Replace the network's own, by name; gradients flow back to those that require
            them.
        verify: Compare with the full Jacobian, which tells whether outputs mix images.

    Returns:
        The kernel (n1, n2, k, k).

    Raises:
        BenchError: The network mixes images or draws at random (training mode), a masked tangent
            has no masks, its outputs are not (n, k), `method` does not support it, or the kernel
            is not that of the Jacobian.
    """
    images = torch.cat([x1, x2])
    options = tangent, masks
    kernel = outputs_and_kernel(network, images, len(x1), *options, method, memory_mb, parameters)[
        1
    ]
    if verify:
        full = outputs_and_kernel(
            network, images, len(x1), *options, "jacobian", memory_mb, parameters
        )[1]
        _compare(kernel.detach(), full.detach())
    return kernel


def _compare(kernel: Tensor, full: Tensor) -> None:
    """Raise BenchError where a kernel is not that of the full Jacobian, to rounding."""
    difference = float((kernel - full).norm() / full.norm())
    if not difference <= torch.finfo(full.dtype).eps ** 0.5:
        raise BenchError(
            f"the kernel differs by {difference:.1%} from that of the full Jacobian, image by "
            "image: use method=jacobian, or mix no images"
        )


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

    Takes the arguments of `empirical_ntk`; uses one forward pass.
    """
    _check(network, tangent, masks)
    values = dict(parameters or network.named_parameters())
    tangent_masks = masks if tangent == "masked" else None
    trace = _traced(network, values, images, method)
    if trace is not None:
        return trace.outputs, layers.kernel(trace, first, tangent_masks, memory_mb)
    if method not in ("auto", "jacobian"):
        raise BenchError(f"method {method} does not support the layers of this network; try auto")
    try:
        return jacobian.outputs_and_kernel(network, values, images, first, tangent_masks)
    except RuntimeError as error:
        reason = f"the Jacobian of this network cannot be computed: {first_line(error)}"
        raise BenchError(reason) from error


def gram(
    network: nn.Module,
    images: Tensor,
    tangent: Tangent = "dense",
    masks: Mapping[str, Tensor] | None = None,
    memory_mb: float = MEMORY_MB,
) -> Tensor:
    """Compute the kernel of images with each other: (n, n, k, k), that of `empirical_ntk`.

    Derivatives are computed once, not for both sides, which halves time and memory.
    """
    _check(network, tangent, masks)
    trace = _traced(network, dict(network.named_parameters()), images, "auto")
    if trace is None:
        return empirical_ntk(network, images, images, tangent, masks)
    return layers.gram(trace, masks if tangent == "masked" else None, memory_mb)


def _traced(
    network: nn.Module, parameters: Mapping[str, Tensor], images: Tensor, method: Method
) -> Trace | None:
    """Trace a network layer by layer; None where `method` cannot."""
    if method in ("auto", "chain") and chain.supports(network):
        return chain.trace(network, parameters, images)
    if method in ("auto", "hooks") and hooks.supports(network):
        return _hooked(network, parameters, images)
    return None


def _hooked(network: nn.Module, parameters: Mapping[str, Tensor], images: Tensor) -> Trace | None:
    """Trace by hooks; None where the outputs do not only depend on what they record."""
    before = torch.get_rng_state()
    try:
        trace = hooks.trace(network, parameters, images)
    except hooks.Unsupported:
        return None
    if not torch.equal(before, torch.get_rng_state()):
        raise BenchError("the forward pass draws at random: call network.eval()")
    return trace


def _check(network: nn.Module, tangent: Tangent, masks: Mapping[str, Tensor] | None) -> None:
    if tangent == "masked" and masks is None:
        raise BenchError('tangent="masked" needs `masks`: the directions to leave out')
    for name, module in network.named_modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if (norm or isinstance(module, nn.modules.dropout._DropoutNd)) and module.training:
            raise BenchError(
                f"{name} is in training mode, in which an image has no derivative of its own: "
                "call network.eval()"
            )
        if norm and not module.track_running_stats:
            raise BenchError(f"{name} keeps no running statistics: it mixes the images of a batch")


__all__ = ["Trace", "empirical_ntk", "gram", "outputs_and_kernel"]
