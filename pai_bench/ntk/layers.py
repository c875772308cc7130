"""The kernel of each layer, from its inputs and the outputs' derivatives by its outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pai_bench.errors import BenchError

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
    bias = layer.bias is not None
    places = [_places(use) for use in uses]
    if mask is None and len(places) == 1 and _pairs_are_cheaper(places[0], first):
        return _by_pairs(places[0], first, bias)
    return _by_blocks(places, first, bias, mask, memory_mb)


@dataclass(frozen=True)
class Places:
    """A use, in the form of a linear layer that is used at many places of its input."""

    inputs: Tensor
    """Of each place, by group: (groups, n, places, inputs)."""
    derivative: Tensor
    """By the outputs at each place: (groups, n, k, places, outputs)."""

    def halves(self, first: int) -> tuple[Places, Places]:
        """The first images, and the others."""
        n = self.inputs.shape[1]
        inputs = self.inputs.split([first, n - first], dim=1)
        derivatives = self.derivative.split([first, n - first], dim=1)
        return Places(inputs[0], derivatives[0]), Places(inputs[1], derivatives[1])


def _places(use: Use) -> Places:
    layer, inputs, derivative = use.layer, use.inputs, use.derivative
    if isinstance(layer, nn.Linear):
        n, k = derivative.shape[:2]
        flat = inputs.reshape(1, n, -1, layer.in_features)
        return Places(flat, derivative.reshape(1, n, k, -1, layer.out_features))
    assert isinstance(layer, CONVS)
    patches = _patches(layer, inputs)
    by_group = derivative.flatten(3).unflatten(2, (layer.groups, -1))
    return Places(patches.permute(1, 0, 3, 2), by_group.permute(2, 0, 1, 4, 3))


def _patches(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, inputs: Tensor) -> Tensor:
    """What each filter sees at each place: (n, groups, values, places)."""
    padded = inputs
    if any(layer._reversed_padding_repeated_twice):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = functional.pad(inputs, layer._reversed_padding_repeated_twice, mode)
    for axis, (size, stride, step) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), 2
    ):
        span = step * (size - 1) + 1
        padded = padded.unfold(axis, span, stride)[..., ::step]
    dims = len(layer.kernel_size)
    # (n, channels, *places, *kernel) -> (n, groups, channels * kernel, places)
    by_group = padded.unflatten(1, (layer.groups, -1))
    order = (0, 1, 2, *range(3 + dims, 3 + 2 * dims), *range(3, 3 + dims))
    moved = by_group.permute(order)
    seen: Tensor = moved.reshape(*moved.shape[:2], -1, padded.shape[2 : 2 + dims].numel())
    return seen


def _pairs_are_cheaper(uses: Places, first: int) -> bool:
    """Compare multiply-accumulates: Gram matrices of pairs of places, or the Jacobian's blocks."""
    _, n, k, places, outputs = uses.derivative.shape
    inputs = uses.inputs.shape[-1]
    couples = first * (n - first)
    pairs = couples * places**2 * (inputs + k**2 * outputs)
    blocks = (n * k * places + couples * k**2) * outputs * inputs
    return pairs <= blocks


def _by_pairs(uses: Places, first: int, bias: bool) -> Tensor:
    """Gram matrix of the inputs (and 1 for the bias) times that of the derivatives."""
    one, two = uses.halves(first)
    _, n1, k, q, _ = one.derivative.shape
    n2 = two.inputs.shape[1]
    total = one.inputs.new_zeros(())
    for group in range(len(one.inputs)):
        seen = one.inputs[group].flatten(0, 1) @ two.inputs[group].flatten(0, 1).T + bias
        said = one.derivative[group].flatten(0, 2) @ two.derivative[group].flatten(0, 2).T
        product = said.view(n1, k, q, n2, k, q) * seen.view(n1, 1, q, n2, 1, q)
        total = total + product.sum((2, 5)) if q > 1 else total + product.view(n1, k, n2, k)
    return total


def _by_blocks(
    uses: list[Places], first: int, bias: bool, mask: Tensor | None, memory_mb: float
) -> Tensor:
    """Each image's derivative by the weights, for some outputs of the layer at a time, contracted.

    What the uses of a layer contribute to the derivative adds up, before the product.
    """
    groups, n, k, _, outputs = uses[0].derivative.shape
    inputs = uses[0].inputs.shape[-1]
    bytes_of_one = n * k * inputs * uses[0].inputs.element_size()
    size = max(1, min(outputs, int(memory_mb * 2**20 / bytes_of_one)))
    kept = None if mask is None else mask.reshape(groups, outputs, inputs)
    total = uses[0].inputs.new_zeros(())
    for group in range(groups):
        for start in range(0, outputs, size):
            part = slice(start, start + size)
            block = sum(
                torch.einsum("ikqo,iqc->ikoc", u.derivative[group, ..., part], u.inputs[group])
                for u in uses
            )
            assert isinstance(block, Tensor)
            flat = block.flatten(2) if kept is None else block[:, :, kept[group, part]]
            total = total + _product(flat, first)
    if bias:
        total = total + _product(
            torch.stack([u.derivative.sum(3) for u in uses]).sum(0).movedim(0, 2), first
        )
    return total


def _norm(uses: list[Use], first: int) -> Tensor:
    """Scale and shift of a batch norm in evaluation mode."""
    scale = shift = uses[0].inputs.new_zeros(())
    for use in uses:
        layer = use.layer
        assert isinstance(layer, NORMS)
        if layer.running_mean is None or layer.running_var is None:
            raise BenchError(f"{use.name} keeps no running statistics: it mixes images")
        shape = (1, -1, *(1 for _ in use.inputs.shape[2:]))
        mean, variance = layer.running_mean.view(shape), layer.running_var.view(shape)
        normal = (use.inputs - mean) * (variance + layer.eps).rsqrt()
        scale = scale + (use.derivative * normal.unsqueeze(1)).flatten(3).sum(3)
        shift = shift + use.derivative.flatten(3).sum(3)
    if not uses[0].layer.affine:
        return uses[0].inputs.new_zeros(())
    return _product(scale, first) + _product(shift, first)


def _product(derivative: Tensor, first: int) -> Tensor:
    """Contract derivatives (n, k, ...) of the first images with those of the others."""
    n, k = derivative.shape[:2]
    one, two = derivative.split([first, n - first])
    product: Tensor = one.reshape(first * k, -1) @ two.reshape((n - first) * k, -1).T
    return product.view(first, k, n - first, k)
