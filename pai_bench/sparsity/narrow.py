"""Narrower networks, described by the units that each layer keeps of the full one."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.account import Transparent
from pai_bench.sparsity.masks import PRUNABLE, Layer, layers, prunable, weight_name

Substitute = Callable[[str, Tensor, Tensor], Tensor]
"""Stands in for layers: (layer name, its input, zeros of its output's shape) -> output."""


@dataclass(frozen=True)
class Units:
    """Which output and input units of a layer are kept: bool, (out,) and (in,)."""

    outputs: Tensor
    inputs: Tensor

    def block(self, layer: Layer) -> Tensor:
        """Mask of the layer's weight: every connection between units that are kept."""
        mask = torch.zeros(layer.weight.shape, dtype=torch.bool)
        if is_depthwise(layer):
            mask[self.outputs & self.inputs] = True
        else:
            mask[self.outputs.nonzero(), self.inputs.nonzero().flatten()] = True
        return mask


class Narrowing:
    """A network whose hidden layers are narrowed by one width factor.

    Each layer keeps the first int(c x width) of its c units, so that the channels of a sum agree; a
    depthwise convolution keeps the channels that it reads. Inputs and outputs of the network stay
    complete. Layers that are not prunable are narrowed like the others.

    Args:
        network: The full network; it is not changed.
        shape: Shape of one input, without the batch.

    Raises:
        BenchError: The network cannot be narrowed: a layer is used twice, as recurrent ones are, a
            convolution is grouped but not depthwise, or an operation does not map 0 to 0.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        self.layers = dict(layers(network))
        for name, layer in self.layers.items():
            if not isinstance(layer, nn.Linear) and layer.groups > 1 and not is_depthwise(layer):
                raise BenchError(f"{name} has groups of several channels: it cannot be narrowed")
        self._prunable = {name for name, _ in prunable(network)}
        self._probe, self._input = self._shape_only_copy(network), torch.ones(1, *shape)
        self._last = self._output_layers()

    def units(self, width: Fraction) -> dict[str, Units]:
        """Units that each layer keeps at `width`, by layer name."""
        units: dict[str, Units] = {}

        def mark(name: str, inputs: Tensor, output: Tensor) -> Tensor:
            layer = self.layers[name]
            count, axis = len(layer.weight), _unit_axis(layer)
            outputs = torch.arange(count) < (count if name in self._last else int(count * width))
            units[name] = Units(outputs, inputs.movedim(axis, 0).flatten(1).any(1))
            return output.movedim(axis, -1).add(outputs).movedim(-1, axis)

        self._propagate(1.0, mark)
        return units

    def kept(self, width: Fraction) -> int:
        """Number of prunable weights that are kept at `width`."""
        return sum(
            int(units.block(self.layers[name]).sum())
            for name, units in self.units(width).items()
            if weight_name(name) in self._prunable
        )

    def widest(self, most: int) -> Fraction:
        """Find the largest width with at most `most` prunable weights and a unit in every layer.

        Raises:
            BenchError: Even the smallest network has more weights.
        """
        counts = [len(self.layers[name].weight) for name in self.layers if name not in self._last]
        steps = {Fraction(kept, count) for count in set(counts) for kept in range(1, count + 1)}
        widths = sorted(width for width in steps if width * min(counts) >= 1) or [Fraction(1)]
        fitting = bisect_right(widths, most, key=self.kept)
        if not fitting:
            least = self.kept(widths[0])
            raise BenchError(f"no width fits: the smallest network has {least} weights, not {most}")
        return widths[fitting - 1]

    def _output_layers(self) -> set[str]:
        """Names of the layers whose output reaches that of the network through no other layer."""
        leaves: dict[str, Tensor] = {}

        def cut(name: str, inputs: Tensor, output: Tensor) -> Tensor:
            if name in leaves:
                raise BenchError(f"{name} is used more than once: it cannot be narrowed")
            if inputs.any():
                raise BenchError(f"what {name} reads is not 0 where nothing is: leave out sigmoids")
            leaves[name] = output.requires_grad_()
            return leaves[name]

        with torch.enable_grad():
            output = self._propagate(0.0, cut)
            gradients = torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
        return {n for n, gradient in zip(leaves, gradients, strict=True) if gradient is not None}

    def _propagate(self, value: float, substitute: Substitute) -> Tensor:
        """Send an input of one value through the network, with `substitute` for its layers."""
        self._substitute = substitute
        with Transparent():
            output: Tensor = self._probe(self._input * value)
        return output

    def _shape_only_copy(self, network: nn.Module) -> nn.Module:
        """Copy the network; its layers compute only the shapes of their outputs."""
        probe = copy.deepcopy(network).cpu().float().eval()
        for name, layer in layers(probe):
            layer.forward = partial(self._stand_in, name, copy.deepcopy(layer).to("meta"))  # type: ignore[method-assign]
        return probe

    def _stand_in(self, name: str, layer: Layer, inputs: Tensor) -> Tensor:
        shape = layer(inputs.to("meta")).shape
        return self._substitute(name, inputs.detach(), torch.zeros(shape))


def narrow(
    network: nn.Module, units: Mapping[str, Units], initialise: Callable[[nn.Module], None]
) -> dict[str, Layer]:
    """Build the layers of the narrow network, with weights drawn as in building it.

    PyTorch's default initialisation comes first, in module order, then the network's.

    Returns:
        Layer name -> layer on the CPU, in float32.
    """
    scratch = copy.deepcopy(network).cpu().float()
    for name, layer in layers(scratch):
        parent, _, attribute = name.rpartition(".")
        setattr(scratch.get_submodule(parent), attribute, _smaller(layer, units[name]))
    initialise(scratch)
    return dict(layers(scratch))


def _smaller(layer: Layer, units: Units) -> Layer:
    """Build a layer of the same kind between the units that are kept."""
    outputs, inputs = int(units.outputs.sum()), int(units.inputs.sum())
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, layer.bias is not None)
    kind: Any = next(kind for kind in PRUNABLE if isinstance(layer, kind))
    smaller: Layer = kind(
        inputs,
        outputs,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        groups=outputs if is_depthwise(layer) else 1,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
    )
    return smaller


@torch.no_grad()
def copy_units(network: nn.Module, small: Mapping[str, Layer], units: Mapping[str, Units]) -> None:
    """Copy the weights and biases of the layers in `small` to the units that are kept.

    The other weights of layers without masks are set to 0, and stay 0: their inputs and the
    gradients of their outputs are 0.
    """
    masked = {name for name, _ in prunable(network)}
    for name, layer in layers(network):
        block = units[name].block(layer).to(layer.weight.device)
        if weight_name(name) not in masked:
            layer.weight.zero_()
        layer.weight[block] = small[name].weight.flatten().to(layer.weight)
        bias, small_bias = layer.bias, small[name].bias
        if bias is not None and small_bias is not None:
            bias[units[name].outputs.to(bias.device)] = small_bias.to(bias)


def is_depthwise(layer: Layer) -> bool:
    """Whether each channel has its own filter."""
    if isinstance(layer, nn.Linear):
        return False
    return 1 < layer.groups == layer.in_channels == layer.out_channels


def _unit_axis(layer: Layer) -> int:
    """Axis of the units in the layer's inputs and outputs."""
    return -1 if isinstance(layer, nn.Linear) else 1
