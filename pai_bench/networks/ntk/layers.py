"""The kernel of each layer, from its inputs and the outputs' derivatives by its outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

LINEAR = (nn.Linear,)
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
KNOWN = (*LINEAR, *CONVS, *NORMS)
"""Layers with parameters, of which the kernel is known."""


@dataclass(frozen=True)
class Use:
    """One call of a layer."""

    name: str
    layer: nn.Module
    inputs: Tensor
    """Of the layer: (n, ...)."""
    derivative: Tensor
    """Of each of k outputs of the network by the layer's outputs: (n, k, ...)."""


@dataclass(frozen=True)
class Trace:
    """What a pass through the network leaves: its outputs (n, k), and the uses of its layers."""

    outputs: Tensor
    uses: list[Use]


def kernel(
    trace: Trace, first: int, masks: Mapping[str, Tensor] | None, memory_mb: float
) -> Tensor:
    """Sum up the layers' kernels, between the `first` images and the others: (n1, n2, k, k)."""
    by_layer: dict[str, list[Use]] = defaultdict(list)
    for use in trace.uses:
        by_layer[use.name].append(use)
    n, k = trace.outputs.shape
    total = trace.outputs.new_zeros(())
    for name, uses in by_layer.items():
        mask = None if masks is None else masks.get(f"{name}.weight" if name else "weight")
        total = total + _layer(uses, first, mask, memory_mb)
    return total.expand(first, k, n - first, k).permute(0, 2, 1, 3)


def _layer(uses: list[Use], first: int, mask: Tensor | None, memory_mb: float) -> Tensor:
    """Kernel of one layer: (n1, k, n2, k)."""
    layer = uses[0].layer
    if isinstance(layer, NORMS):
        return _norm(uses, first)
    places = [_places(use) for use in uses]
    scratch = int(memory_mb * 2**20 / places[0].inputs.element_size())
    if mask is None and len(places) == 1 and _pairs_are_cheaper(places[0], first):
        return _by_pairs(places[0], first, layer.bias is not None, scratch)
    kernel = _by_blocks(places, first, mask, scratch)
    if layer.bias is None:
        return kernel
    shift = torch.stack([used.derivative.sum(4) for used in places]).sum(0)
    return kernel + _product(shift.movedim(0, 2), first)


@dataclass(frozen=True)
class Places:
    """A use, in the form of a linear layer that is used at many places of its input."""

    inputs: Tensor
    """Of each place, by group: (groups, n, places, inputs)."""
    derivative: Tensor
    """By the outputs at each place: (groups, n, k, outputs, places)."""


def _places(use: Use) -> Places:
    layer, inputs, derivative = use.layer, use.inputs, use.derivative
    if isinstance(layer, nn.Linear):
        n, k = derivative.shape[:2]
        flat = inputs.reshape(1, n, -1, layer.in_features)
        by_place = derivative.reshape(1, n, k, -1, layer.out_features)
        return Places(flat, by_place.transpose(3, 4))
    assert isinstance(layer, CONVS)
    by_group = derivative.flatten(3).unflatten(2, (layer.groups, -1))
    return Places(_patches(layer, inputs), by_group.movedim(2, 0))


def _patches(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, inputs: Tensor) -> Tensor:
    """What each filter sees at each place: (groups, n, places, values)."""
    seen, around = inputs, layer._reversed_padding_repeated_twice
    if any(around):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        seen = functional.pad(seen, around, mode)
    for axis, (size, stride, step) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), 2
    ):
        seen = seen.unfold(axis, step * (size - 1) + 1, stride)[..., ::step]
    places = 2 + len(layer.kernel_size)
    by_group = seen.unflatten(1, (layer.groups, -1)).movedim(2, places)
    moved: Tensor = by_group.transpose(0, 1).flatten(2, places - 1).flatten(3)
    return moved


def _pairs_are_cheaper(used: Places, first: int) -> bool:
    """Compare multiply-accumulates: Gram matrices of pairs of places, or the Jacobian's blocks."""
    _, n, k, outputs, places = used.derivative.shape
    inputs = used.inputs.shape[-1]
    couples = first * (n - first)
    pairs = couples * places**2 * (inputs + k**2 * outputs)
    blocks = (n * k * places + couples * k**2) * outputs * inputs
    return pairs <= blocks


def _by_pairs(used: Places, first: int, bias: bool, scratch: int) -> Tensor:
    """Gram matrix of the inputs (and 1 for the bias) times that of the derivatives."""
    n, k, _, places = used.derivative.shape[1:]
    size = max(1, scratch // ((n - first) * (k * places) ** 2))
    total = used.inputs.new_zeros(())
    for inputs, derivative in zip(used.inputs, used.derivative, strict=True):
        inputs1, inputs2 = inputs.split([first, n - first])
        said1, said2 = derivative.transpose(2, 3).split([first, n - first])
        parts = list(zip(inputs1.split(size), said1.split(size), strict=True))
        found = [_lean(len(parts), _pairs, *part, inputs2, said2, bias) for part in parts]
        total = total + (found[0] if len(found) == 1 else torch.cat(found))
    return total


def _pairs(inputs1: Tensor, said1: Tensor, inputs2: Tensor, said2: Tensor, bias: bool) -> Tensor:
    """One group: inputs (n, places, inputs), derivatives (n, k, places, outputs)."""
    n1, k, q, _ = said1.shape
    n2 = len(inputs2)
    seen = inputs1.flatten(0, 1) @ inputs2.flatten(0, 1).T + bias
    said = said1.flatten(0, 2) @ said2.flatten(0, 2).T
    product = said.view(n1, k, q, n2, k, q) * seen.view(n1, 1, q, n2, 1, q)
    return product.sum((2, 5)) if q > 1 else product.view(n1, k, n2, k)


def _by_blocks(uses: list[Places], first: int, mask: Tensor | None, scratch: int) -> Tensor:
    """Derivatives of each image by some of the weights at a time, contracted.

    What the uses of a layer contribute to the derivative adds up, before the product.
    """
    groups, n, k, outputs, places = uses[0].derivative.shape
    inputs = uses[0].inputs.shape[-1]
    total = uses[0].inputs.new_zeros(())
    for group in range(groups):
        tensors = [part[group] for used in uses for part in (used.derivative, used.inputs)]
        kept = None if mask is None else mask.reshape(groups, outputs, inputs)[group]
        if kept is not None and places == 1:
            weights = kept.nonzero().split(max(1, scratch // (n * k)))
            found = [_lean(len(weights), _chosen, part, first, *tensors) for part in weights]
        else:
            size = max(1, scratch // (n * k * inputs))
            starts = range(0, outputs, size)
            rows = [slice(start, start + size) for start in starts]
            found = [_lean(len(rows), _block, part, kept, first, *tensors) for part in rows]
        total = sum(found, total)
    return total


def _block(rows: slice, kept: Tensor | None, first: int, *tensors: Tensor) -> Tensor:
    """Kernel of all weights of some outputs, or of those that are kept.

    `tensors` are, in turn, derivatives (n, k, outputs, places) and inputs (n, places, inputs).
    """
    block: Any = 0
    for said, seen in zip(tensors[::2], tensors[1::2], strict=True):
        part = said[:, :, rows]
        block = block + (part.flatten(1, 2) @ seen).unflatten(1, part.shape[1:3])
    return _product(block if kept is None else block[:, :, kept[rows]], first)


def _chosen(weights: Tensor, first: int, *tensors: Tensor) -> Tensor:
    """Kernel of `weights`, given as (output, input), of a layer that is used at one place."""
    outputs, inputs = weights.T
    block: Any = 0
    for said, seen in zip(tensors[::2], tensors[1::2], strict=True):
        block = block + said[:, :, outputs, 0] * seen[:, :1, inputs]
    return _product(block, first)


def _lean(parts: int, call: Callable[..., Tensor], *given: Any) -> Tensor:
    """Call; of one part among several nothing is kept for a gradient, but computed again."""
    if parts == 1 or not torch.is_grad_enabled():
        return call(*given)
    again: Tensor = checkpoint(call, *given, use_reentrant=False)
    return again


def _norm(uses: list[Use], first: int) -> Tensor:
    """Scale and shift of a batch norm in evaluation mode."""
    scale = shift = uses[0].inputs.new_zeros(())
    for use in uses:
        layer = use.layer
        assert isinstance(layer, NORMS)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        shape = (1, -1, *(1 for _ in use.inputs.shape[2:]))
        mean, variance = layer.running_mean.view(shape), layer.running_var.view(shape)
        normal = (use.inputs - mean) * (variance + layer.eps).rsqrt()
        by_channel = (*use.derivative.shape[:3], -1)
        scale = scale + (use.derivative * normal.unsqueeze(1)).reshape(by_channel).sum(3)
        shift = shift + use.derivative.reshape(by_channel).sum(3)
    if not uses[0].layer.affine:
        return uses[0].inputs.new_zeros(())
    return _product(scale, first) + _product(shift, first)


def _product(derivative: Tensor, first: int) -> Tensor:
    """Contract derivatives (n, k, ...) of the first images with those of the others."""
    n, k = derivative.shape[:2]
    one, two = derivative.split([first, n - first])
    product: Tensor = one.reshape(first * k, -1) @ two.reshape((n - first) * k, -1).T
    return product.view(first, k, n - first, k)
