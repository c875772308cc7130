"""What a mask really leaves: effective density, collapsed layers, FLOPs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pai_bench.sparsity.masks import PRUNABLE, Masks, prunable

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_AVERAGE: dict[type, Any] = {
    nn.MaxPool1d: nn.AvgPool1d,
    nn.MaxPool2d: nn.AvgPool2d,
    nn.MaxPool3d: nn.AvgPool3d,
}


class _Reach(torch.autograd.Function):
    """Turn values into "is reached": positive -> 1, in the forward and in the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return (values > 0).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient > 0).to(gradient.dtype)


def _reach(values: Tensor) -> Tensor:
    reached: Tensor = _Reach.apply(values)  # type: ignore[no-untyped-call]
    return reached


def effective(network: nn.Module, masks: Mapping[str, Tensor], shape: tuple[int, ...]) -> Masks:
    """Keep of `masks` only the weights that lie on a path from an input to an output.

    `shape` is that of one input, without the batch. Signals of ones and zeros are sent through
    the network forwards (what an input reaches) and backwards (what reaches an output), with every
    weight 1 where it is kept, no biases, normalisation switched off and max pooling replaced by
    average pooling (which of the pooled values wins depends on the data). Max pooling that is
    called as a function, not as a module, passes its signal through one of the reached values.
    """
    walker = copy.deepcopy(network).cpu().double().eval()
    for module in walker.modules():
        _make_transparent(module)
    for name, weight in prunable(walker):
        weight.data = masks[name].to("cpu", torch.float64)
    with torch.enable_grad():
        output = walker(torch.ones(1, *shape, dtype=torch.float64))
        weights = dict(prunable(walker))
        gradients = torch.autograd.grad(
            _reach(output).sum(), list(weights.values()), materialize_grads=True
        )
    reached = {n: (g > 0) & masks[n].cpu() for n, g in zip(weights, gradients, strict=True)}
    return Masks({name: reached[name] for name in masks})


def _make_transparent(module: nn.Module) -> None:
    """Let a layer of the walker pass on reachability, and nothing else."""
    if isinstance(module, PRUNABLE):
        if module.bias is not None:
            module.bias.data.zero_()
        module.weight.requires_grad_()
        module.register_forward_hook(lambda _layer, _inputs, output: _reach(output))
    if isinstance(module, BATCH_NORMS):
        module.reset_parameters()
    for name, child in module.named_children():
        if type(child) in _AVERAGE and child.dilation in (1, (1, 1), (1, 1, 1)):
            average = _AVERAGE[type(child)]
            pool = average(child.kernel_size, child.stride, child.padding, child.ceil_mode)
            setattr(module, name, pool)


def macs_by_layer(network: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    """Count the dense multiply-accumulates of one input, per prunable weight.

    >>> macs_by_layer(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1)), (1, 8, 8))
    {'0.weight': 1152}
    """
    found: dict[str, int] = {}
    counted = copy.deepcopy(network).eval()
    hooks = []
    for name, module in counted.named_modules():
        if isinstance(module, PRUNABLE):
            hooks.append(module.register_forward_hook(_counter(found, f"{name}.weight")))
    first = next(counted.parameters())
    with torch.no_grad():
        counted(torch.zeros(1, *shape, dtype=first.dtype, device=first.device))
    return found


def _counter(found: dict[str, int], name: str) -> Callable[[nn.Module, object, Tensor], None]:
    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        channels = output.shape[-1] if isinstance(layer, nn.Linear) else output.shape[1]
        weights = dict(layer.named_parameters())["weight"].numel()
        found[name] = found.get(name, 0) + weights * (output[0].numel() // channels)

    return count


def inference_flops(macs: Mapping[str, int], masks: Masks) -> float:
    """FLOPs of one input through the masked network: 2 per kept multiply-accumulate."""
    kept = masks.kept_by_layer()
    return sum(2.0 * count * kept[name] / masks[name].numel() for name, count in macs.items())
