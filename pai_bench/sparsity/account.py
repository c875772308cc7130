"""What a mask leaves of a network: weights on a path, FLOPs and bytes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pai_bench.core.nested import map_tensors
from pai_bench.sparsity import recurrent
from pai_bench.sparsity.masks import Layer, Masks, layers, prunable, weight_name

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Layers with running statistics, which methods may freeze while they score."""
_NORMS = ("batch_norm", "group_norm", "layer_norm", "instance_norm", "rms_norm")
_AVERAGES: dict[str, Callable[..., Tensor]] = {
    "max_pool1d": functional.avg_pool1d,
    "max_pool2d": functional.avg_pool2d,
    "max_pool3d": functional.avg_pool3d,
}


class _Reach(torch.autograd.Function):
    """Binarise reachability: positive -> 1, in the forward and in the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return (values > 0).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient > 0).to(gradient.dtype)


def _reach(values: Tensor) -> Tensor:
    reached: Tensor = _Reach.apply(values)  # type: ignore[no-untyped-call]
    return reached


class Transparent(TorchFunctionMode):
    """Make normalisation and max pooling propagate reachability, as a layer or a function."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in _NORMS:
            return args[0] if args else kwargs["input"]
        if name in _AVERAGES:
            return _average(_AVERAGES[name], func, *args, **kwargs)
        return func(*args, **kwargs)


def _average(
    average: Callable[..., Tensor],
    pool: Callable[..., Tensor],
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    **rest: Any,
) -> Tensor:
    """Replace max pooling by average pooling, except where it is dilated: that has no average."""
    if dilation not in (1, (1,), (1, 1), (1, 1, 1)):
        return pool(input, kernel_size, stride, padding, dilation, ceil_mode, **rest)
    return average(input, kernel_size, stride, padding, ceil_mode)


def effective(network: nn.Module, masks: Mapping[str, Tensor], shape: tuple[int, ...]) -> Masks:
    """Restrict `masks` to the weights that lie on a path from an input to an output.

    Signals of ones and zeros are sent through the network forwards (what an input reaches) and
    backwards (what reaches an output), with every weight 1 where it is kept (and everywhere in a
    layer that is not prunable), no biases, normalisation switched off and max pooling replaced by
    average pooling (the position of the maximum depends on the data). A dilated or adaptive max
    pooling passes its signal through one of the reached values. Every symbol reaches all values of
    an embedding. A module in which signals do not just add up (the gates of a GRU) has a method
    `reached`, with the arguments of `forward`, that returns sums of what its outputs depend on;
    those of torch have theirs in recurrent.py.

    Args:
        network: The network; it is not changed.
        masks: Parameter name -> bool mask.
        shape: Shape of one input, without the batch.

    Returns:
        Masks on the CPU, from which the density of the effective network follows.
    """
    probe = copy.deepcopy(network).cpu().double().eval()
    for _, layer in layers(probe):
        _make_transparent(layer)
    for module in probe.modules():
        if isinstance(module, nn.Embedding):
            module.weight.data.fill_(1)
        reached = getattr(module, "reached", None) or recurrent.reached_by(module, _reach)
        if reached is not None:
            _fill(module)
            module.forward = reached
    for name, weight in prunable(probe):
        weight.data = masks[name].to("cpu", torch.float64)
        weight.requires_grad_()
    with torch.enable_grad(), Transparent():
        output = probe(torch.ones(1, *shape, dtype=torch.float64))
        weights = dict(prunable(probe))
        gradients = torch.autograd.grad(
            _reach(output).sum(), list(weights.values()), materialize_grads=True
        )
    reached = {n: (g > 0) & masks[n].cpu() for n, g in zip(weights, gradients, strict=True)}
    return Masks({name: reached[name] for name in masks})


def _fill(module: nn.Module) -> None:
    """Set the matrices that a module itself holds to 1, and its vectors to 0."""
    for parameter in module.parameters(recurse=False):
        parameter.data.fill_(float(parameter.dim() > 1))


def _make_transparent(layer: Layer) -> None:
    """Make a layer propagate reachability only: weights of 1, no bias, outputs of 0 or 1."""
    if layer.bias is not None:
        layer.bias.data.zero_()
    layer.weight.data.fill_(1)
    layer.register_forward_hook(lambda _layer, _inputs, output: _reach(output))


@dataclass(frozen=True)
class LayerCost:
    """Cost of a conv or linear layer in one forward pass of one input."""

    weights: int
    channels: int
    """Output channels."""
    places: int
    """Output positions at which each weight is used, over all calls of the layer."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense layer."""
        return self.weights * self.places

    @property
    def outputs(self) -> int:
        """Number of output values."""
        return self.channels * self.places


def costs_by_layer(network: nn.Module, shape: tuple[int, ...]) -> dict[str, LayerCost]:
    """Measure the cost of each conv and linear layer, prunable or not, by weight name.

    Runs one forward pass on the network's device; on the meta device that computes nothing.
    `shape` is that of one input, without the batch.
    """
    like = next(network.parameters())
    return _costs(network, torch.zeros(1, *shape, dtype=like.dtype, device=like.device))


def _costs(network: nn.Module, inputs: Any) -> dict[str, LayerCost]:
    costs: dict[str, LayerCost] = {}
    counted = copy.deepcopy(network).eval()
    for name, layer in layers(counted):
        layer.register_forward_hook(_counter(costs, weight_name(name)))
    for name, module in counted.named_modules():
        module.register_forward_hook(_counter_of_uses(costs, name), with_kwargs=True)
    with torch.no_grad():
        counted(inputs)
    return costs


def _counter(costs: dict[str, LayerCost], name: str) -> Callable[[nn.Module, object, Tensor], None]:
    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        channels = output.shape[-1] if isinstance(layer, nn.Linear) else output.shape[1]
        earlier = costs[name].places if name in costs else 0
        weights = dict(layer.named_parameters())["weight"].numel()
        costs[name] = LayerCost(weights, channels, earlier + output[0].numel() // channels)

    return count


def _counter_of_uses(costs: dict[str, LayerCost], module: str) -> Callable[..., None]:
    """Count what recurrent and attention modules multiply, which are more than one layer."""

    def count(of: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any) -> None:
        matrices = dict(of.named_parameters())
        for key, places in recurrent.uses(of, (*args, *kwargs.values())):
            name, weight = f"{module}.{key}" if module else key, matrices[key]
            earlier = costs[name].places if name in costs else 0
            costs[name] = LayerCost(weight.numel(), len(weight), earlier + places)

    return count


def macs_by_layer(network: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    """Count the dense multiply-accumulates of one input, per conv and linear weight.

    >>> macs_by_layer(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1)), (1, 8, 8))
    {'0.weight': 1152}
    """
    return {name: cost.macs for name, cost in costs_by_layer(network, shape).items()}


def macs_of_one(network: nn.Module, inputs: Any) -> int:
    """Count the dense multiply-accumulates of one of `inputs`, a batch, which is passed once."""
    return sum(cost.macs for cost in _costs(network, map_tensors(inputs, Tensor.clone)).values())


def inference_flops(macs: Mapping[str, int], masks: Masks) -> float:
    """FLOPs of one input through the masked network: 2 per kept multiply-accumulate.

    A layer without a mask is dense.
    """
    return kept_flops(macs, masks.kept_by_layer(), masks.weights_by_layer())


def kept_flops(
    macs: Mapping[str, int], kept: Mapping[str, int], totals: Mapping[str, int]
) -> float:
    """Inference FLOPs of one input, from kept weights and all weights by weight name."""
    return sum(
        2.0 * count * kept[name] / totals[name] if name in kept else 2.0 * count
        for name, count in macs.items()
    )


def rigl_flops(costs: Mapping[str, LayerCost], masks: Masks) -> float:
    """FLOPs of one input as RigL counts them: 2 per kept multiply-accumulate, 1 per output.

    A dot product of v values is v multiplications and v - 1 additions; RigL adds, for every output
    of every layer, one addition for a bias and one multiplication for a ReLU, whether there are any
    or not, and nothing for normalisation, pooling and residual sums. A layer without a mask is
    dense.
    """
    macs = {name: cost.macs for name, cost in costs.items()}
    return inference_flops(macs, masks) + sum(cost.outputs for cost in costs.values())


def rigl_bytes(costs: Mapping[str, LayerCost], masks: Masks) -> float:
    """Size of the masked network as RigL counts it, in bytes.

    32 bits for each kept weight and for one bias per output channel, and where a layer is sparse
    one bit for each of its weights, kept or not.
    """
    kept = masks.kept_by_layer()
    bits = 0
    for name, cost in costs.items():
        values = kept.get(name, cost.weights)
        bits += 32 * (values + cost.channels) + (cost.weights if values < cost.weights else 0)
    return bits / 8


def sparse_bytes(network: nn.Module, masks: Mapping[str, Tensor]) -> float:
    """Bytes of a sparse network: 32 bits for each kept weight and each bias, and a bit for each
    weight of a layer that is not whole.

    Every conv and linear layer counts, prunable or not. Each output has a bias, which stands for
    batch norm where there is none, but for those of grouped convolutions: so the sizes of RigL's
    authors come out (section 2.1 of its specification; 16.864 MB of the dense MobileNet-v1).

    Args:
        network: The network.
        masks: Of its prunable weights, by parameter name.

    >>> network = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 1))
    >>> sparse_bytes(network, {"0.weight": torch.eye(2, 4) > 0})
    29.0
    """
    bits = 0
    for name, layer in layers(network):
        mask = masks.get(weight_name(name))
        total = layer.weight.numel()
        kept = total if mask is None else int(mask.count_nonzero())
        biases = len(layer.weight) if getattr(layer, "groups", 1) == 1 else 0
        bits += 32 * (kept + biases) + (total if kept < total else 0)
    return bits / 8
