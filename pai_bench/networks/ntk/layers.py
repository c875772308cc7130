"""The kernel of each layer, from its inputs and the derivatives by its outputs."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

LINEAR = (nn.Linear,)
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
KNOWN = (*LINEAR, *CONVS, *NORMS)
"""Layers with parameters whose kernel can be computed."""


@dataclass(frozen=True)
class Use:
    """One call of a layer."""

    name: str
    layer: nn.Module
    inputs: Tensor
    """Inputs of the layer: (n, ...)."""
    derivative: Tensor
    """Derivative of the network's k outputs by the layer's outputs: (n, k, ...)."""


@dataclass(frozen=True)
class Trace:
    """Record of a forward pass: the outputs (n, k), and the calls of the layers."""

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


def gram(trace: Trace, masks: Mapping[str, Tensor] | None, memory_mb: float) -> Tensor:
    """Sum up the layers' kernels of all images with each other: (n, n, k, k).

    Both sides of a layer's product are copies that live no longer than it takes.
    """
    by_layer: dict[str, list[Use]] = defaultdict(list)
    for use in trace.uses:
        by_layer[use.name].append(use)
    twice, total = torch.cat([trace.outputs] * 2), trace.outputs.new_zeros(())
    for uses in by_layer.values():
        both = [
            replace(
                use,
                inputs=torch.cat([use.inputs] * 2),
                derivative=torch.cat([use.derivative] * 2),
            )
            for use in uses
        ]
        total = total + kernel(Trace(twice, both), len(trace.outputs), masks, memory_mb)
    return total


def _layer(uses: list[Use], first: int, mask: Tensor | None, memory_mb: float) -> Tensor:
    """Kernel of one layer: (n1, k, n2, k)."""
    layer = uses[0].layer
    if isinstance(layer, NORMS):
        return _norm(uses, first)
    places = [_places(use) for use in uses]
    scratch = int(memory_mb * 2**20 / places[0].inputs.element_size())
    bias = layer.bias is not None
    if mask is None and len(places) == 1 and _pairs_are_cheaper(places[0], first):
        return _by_pairs(places[0], first, bias, scratch)
    if mask is None or places[0].derivative.shape[-1] > 1:
        return _by_blocks(places, first, mask, bias, scratch)
    kernel = _by_weights(places, first, mask, scratch)
    if not bias:
        return kernel
    shift = torch.stack([use.derivative.sum(4) for use in places]).sum(0)
    return kernel + _product(shift.movedim(0, 2), first)


@dataclass(frozen=True)
class Places:
    """A call, in the form of a linear layer that is applied at many positions of its input."""

    inputs: Tensor
    """Inputs at each position, by group: (groups, n, places, inputs)."""
    derivative: Tensor
    """Derivatives by the outputs at each position: (groups, n, k, outputs, places)."""

    def split(self, first: int) -> tuple[Places, Places]:
        """Separate the `first` images from the others."""
        sizes = [first, self.inputs.shape[1] - first]
        one, two = zip(self.inputs.split(sizes, 1), self.derivative.split(sizes, 1), strict=True)
        return Places(*one), Places(*two)


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
    """Unfold the patches that filters are applied to: (groups, n, places, values)."""
    patches, padding = inputs, layer._reversed_padding_repeated_twice
    if any(padding):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        patches = functional.pad(patches, padding, mode)
    for axis, (size, stride, step) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), 2
    ):
        patches = patches.unfold(axis, step * (size - 1) + 1, stride)[..., ::step]
    places = 2 + len(layer.kernel_size)
    by_group = patches.unflatten(1, (layer.groups, -1)).movedim(2, places)
    flat: Tensor = by_group.transpose(0, 1).flatten(2, places - 1).flatten(3)
    return flat


def _pairs_are_cheaper(use: Places, first: int) -> bool:
    """Compare multiply-accumulates: of Gram matrices over positions, and of Jacobian blocks."""
    _, n, k, outputs, places = use.derivative.shape
    inputs = use.inputs.shape[-1]
    image_pairs = first * (n - first)
    gram_cost = image_pairs * places**2 * (inputs + k**2 * outputs)
    block_cost = (n * k * places + image_pairs * k**2) * outputs * inputs
    return gram_cost <= block_cost


def _by_pairs(use: Places, first: int, bias: bool, scratch: int) -> Tensor:
    """Gram matrix of the inputs (and 1 for the bias) times that of the derivatives."""
    n, k, _, places = use.derivative.shape[1:]
    size = max(1, scratch // ((n - first) * (k * places) ** 2))
    total = use.inputs.new_zeros(())
    for inputs, derivative in zip(use.inputs, use.derivative, strict=True):
        inputs1, inputs2 = inputs.split([first, n - first])
        by1, by2 = derivative.transpose(2, 3).split([first, n - first])
        chunks = list(zip(inputs1.split(size), by1.split(size), strict=True))
        kernels = [_recomputed(len(chunks), _pairs, *c, inputs2, by2, bias) for c in chunks]
        total = total + (kernels[0] if len(kernels) == 1 else torch.cat(kernels))
    return total


def _pairs(inputs1: Tensor, by1: Tensor, inputs2: Tensor, by2: Tensor, bias: bool) -> Tensor:
    """Kernel of one group: inputs (n, places, inputs), derivatives (n, k, places, outputs)."""
    n1, k, q, _ = by1.shape
    n2 = len(inputs2)
    input_gram = inputs1.flatten(0, 1) @ inputs2.flatten(0, 1).T + bias
    derivative_gram = by1.flatten(0, 2) @ by2.flatten(0, 2).T
    product = derivative_gram.view(n1, k, q, n2, k, q) * input_gram.view(n1, 1, q, n2, 1, q)
    return product.sum((2, 5)) if q > 1 else product.view(n1, k, n2, k)


def _by_blocks(
    uses: list[Places], first: int, mask: Tensor | None, bias: bool, scratch: int
) -> Tensor:
    """Contract Jacobian blocks: derivatives of each image by the weights of some outputs at a time.

    A bias is the weight of one more input, which is always 1.
    """
    groups, n, k, outputs, _ = uses[0].derivative.shape
    kept = None if mask is None else mask.reshape(groups, outputs, -1)
    if bias:
        uses = [replace(use, inputs=functional.pad(use.inputs, (0, 1), value=1.0)) for use in uses]
        kept = None if kept is None else functional.pad(kept, (0, 1), value=True)
    size = max(1, scratch // (n * k * uses[0].inputs.shape[-1]))
    rows = [slice(start, start + size) for start in range(0, outputs, size)]
    # Halves are split before the product, not after: the gradients of halves are small here.
    one, two = zip(*(use.split(first) for use in uses), strict=True)
    kernels = [
        _recomputed(len(rows), _block, group, chunk, kept, one, two)
        for group in range(groups)
        for chunk in rows
    ]
    return reduce(operator.add, kernels)


def _block(
    group: int, rows: slice, kept: Tensor | None, one: Sequence[Places], two: Sequence[Places]
) -> Tensor:
    """Kernel of all weights of some outputs, or of those that are kept, over all calls."""
    blocks = [_jacobian(group, rows, uses) for uses in (one, two)]
    if kept is not None:
        blocks = [block[:, :, kept[group, rows]] for block in blocks]
    return _contract(*blocks)


def _jacobian(group: int, rows: slice, uses: Sequence[Places]) -> Tensor:
    """Derivatives by the weights of some outputs: (n, k, rows, inputs); calls add up in them."""
    blocks = []
    for use in uses:
        by_rows = use.derivative[group][:, :, rows]
        product = by_rows.flatten(1, 2) @ use.inputs[group]
        blocks.append(product.unflatten(1, by_rows.shape[1:3]))
    total: Tensor = reduce(operator.add, blocks)
    return total


def _by_weights(uses: list[Places], first: int, mask: Tensor, scratch: int) -> Tensor:
    """Contract derivatives by the kept weights, some at a time, of a layer with one position."""
    _, n, k, outputs, _ = uses[0].derivative.shape
    kept = mask.reshape(outputs, -1)
    tensors = [tensor[0] for use in uses for tensor in (use.derivative, use.inputs)]
    weights = kept.nonzero().split(max(1, scratch // (n * k)))
    kernels = [_recomputed(len(weights), _kept_block, chunk, first, *tensors) for chunk in weights]
    return reduce(operator.add, kernels)


def _kept_block(weights: Tensor, first: int, *tensors: Tensor) -> Tensor:
    """Kernel of `weights`, indices (output, input), of a layer applied at one position."""
    rows, columns = weights.T
    blocks = [
        derivative[:, :, rows, 0] * inputs[:, :1, columns]
        for derivative, inputs in zip(tensors[::2], tensors[1::2], strict=True)
    ]
    return _product(reduce(operator.add, blocks), first)


def _recomputed(chunks: int, call: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Call with activation checkpointing, unless there is one chunk only or no gradient."""
    if chunks == 1 or not torch.is_grad_enabled():
        return call(*arguments)
    result: Tensor = checkpoint(call, *arguments, use_reentrant=False)
    return result


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
    return _contract(*derivative.split([first, len(derivative) - first]))


def _contract(one: Tensor, two: Tensor) -> Tensor:
    """Contract derivatives (n1, k, ...) with (n2, k, ...): (n1, k, n2, k)."""
    product: Tensor = one.flatten(0, 1).flatten(1) @ two.flatten(0, 1).flatten(1).T
    return product.view(*one.shape[:2], *two.shape[:2])
