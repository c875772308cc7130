"""The change of a network's outputs as its weights move in a direction, in little memory.

The gradient of a loss's change is the product of the Hessian and the direction (Pearlmutter, Fast
Exact Multiplication by the Hessian, 1994). A second backward pass has the same, and needs all that
the first one did; outputs and their change go from block to block, and activations are not kept.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from pai_bench.networks.recompute import blocks, keep_activations
from pai_bench.networks.residual import Residual

_KNOWN = (
    Residual, nn.Sequential, nn.Identity, nn.Flatten, nn.ReLU, nn.Conv2d, nn.Linear, nn.MaxPool2d,
    nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.BatchNorm1d, nn.BatchNorm2d,
)  # fmt: skip
"""Layers whose changes PyTorch can differentiate, or this module does."""
CHUNKS = 8
"""Parts of the channels of a batch norm, of which one at a time is computed."""


def is_chain(network: nn.Module) -> bool:
    """Whether `outputs_along` knows a network: blocks one after another, of known layers."""
    return type(network) is nn.Sequential and all(map(_is_known, network.modules()))


def _is_known(module: nn.Module) -> bool:
    in_place, parts = getattr(module, "inplace", False), getattr(module, "parts", 1)
    return isinstance(module, _KNOWN) and not in_place and parts == 1


def outputs_along(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    direction: Mapping[str, Tensor],
    inputs: Tensor,
) -> tuple[Tensor, Tensor]:
    """Compute outputs, and their derivative as weights move in a direction; both have a graph.

    Batch norm takes the statistics of the batch; running ones stay.

    Args:
        network: A chain (see `is_chain`) in training mode, which is left as it is.
        weights: Replace weights, by name.
        direction: How these move, by the same names.
        inputs: A batch (N, ...).
    """
    twin = copy.deepcopy(network)
    keep_activations(twin)
    for module in twin.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean = module.running_var = module.num_batches_tracked = None
    paths = {block: f"{name}." for name, block in twin.named_modules()}
    values, change = inputs, torch.zeros((), dtype=inputs.dtype, device=inputs.device)
    for segment in _segments(twin):
        own = {
            f"{number}.{name.removeprefix(paths[block])}": name
            for number, block in enumerate(segment)
            for name in weights
            if name.startswith(paths[block])
        }
        moving = [weights[name] for name in own.values()]
        along = [direction[name] for name in own.values()]
        values, change = checkpoint(
            _through, nn.Sequential(*segment), list(own), values, change, moving, along,
            use_reentrant=False,
        )  # fmt: skip
    return values, change


def _segments(network: nn.Module) -> Iterator[Sequence[nn.Module]]:
    """Blocks of several layers, each by itself, and runs of single layers between them."""
    run: list[nn.Module] = []
    for block in blocks(network):
        if next(block.children(), None) is None:
            run.append(block)
            continue
        if run:
            yield run
            run = []
        yield [block]
    if run:
        yield run


def _through(
    chain: nn.Module,
    names: Sequence[str],
    values: Tensor,
    change: Tensor,
    weights: Sequence[Tensor],
    direction: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Pass values and their change through some blocks."""
    with forward_ad.dual_level(), _BothNormalised():
        moving = map(forward_ad.make_dual, weights, direction)
        inputs = forward_ad.make_dual(values, change.expand_as(values))
        outputs = functional_call(chain, dict(zip(names, moving, strict=True)), (inputs,))
        return _pair(outputs)


def _pair(values: Tensor) -> tuple[Tensor, Tensor]:
    primal, tangent = forward_ad.unpack_dual(values)
    return primal, torch.zeros_like(primal) if tangent is None else tangent


class _BothNormalised(TorchFunctionMode):
    """Batch norm with all derivatives: PyTorch's holds the statistics of a batch for constants."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        called = _batch_norm if func is functional.batch_norm else func
        return called(*args, **(kwargs or {}))


def _batch_norm(
    inputs: Tensor,
    _mean: None,
    _variance: None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    normalised: Any = _Normalised.apply
    values, change = normalised(*_pair(inputs), weight, bias, eps)
    both: Tensor = forward_ad.make_dual(values, change)
    return both


class _Normalised(torch.autograd.Function):
    """Batch norm of values, and how it changes with them; it keeps nothing but its inputs."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        change: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(values, change, weight, bias)
        ctx.eps = eps
        outputs, changed = torch.empty_like(values), torch.empty_like(values)
        for part in _parts(values):
            outputs[:, part], changed[:, part] = _normalised(
                values[:, part], change[:, part], _of(weight, part), _of(bias, part), eps
            )
        return outputs, changed

    @staticmethod
    def backward(ctx: Any, *upper: Tensor) -> tuple[Tensor | None, ...]:
        values, change, weight, bias = ctx.saved_tensors
        of_values, of_change = torch.empty_like(values), torch.empty_like(values)
        for part in _parts(values):
            with torch.enable_grad():
                first, second = (t[:, part].detach().requires_grad_() for t in (values, change))
                outputs = _normalised(first, second, _of(weight, part), _of(bias, part), ctx.eps)
                of_outputs = [gradient[:, part] for gradient in upper]
                gradients = torch.autograd.grad(outputs, (first, second), of_outputs)
            of_values[:, part], of_change[:, part] = gradients
        return of_values, of_change, None, None, None


def _parts(values: Tensor) -> Iterator[slice]:
    channels = values.shape[1]
    size = -(-channels // CHUNKS)
    return (slice(start, start + size) for start in range(0, channels, size))


def _of(tensor: Tensor | None, part: slice) -> Tensor | None:
    return None if tensor is None else tensor.detach()[part]


def _normalised(
    values: Tensor, change: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """Normalise by the statistics of the batch; those change with it."""
    over, shape = [0, *range(2, values.dim())], [1, -1, *[1] * (values.dim() - 2)]
    centred = values - values.mean(over, keepdim=True)
    moved = change - change.mean(over, keepdim=True)
    scale = (centred.square().mean(over, keepdim=True) + eps).rsqrt()
    slope = -scale.pow(3) * (centred * moved).mean(over, keepdim=True)
    outputs, changed = centred * scale, moved * scale + centred * slope
    if weight is not None:
        outputs, changed = outputs * weight.view(shape), changed * weight.view(shape)
    return outputs if bias is None else outputs + bias.view(shape), changed
