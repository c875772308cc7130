"""Networks with fewer units in every hidden layer, as the units that they keep of the whole one."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor, nn

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.account import Transparent
from pai_bench.sparsity.masks import Layer, layers, prunable, weight_name

Answer = Callable[[str, Tensor, Tensor], Tensor]
"""Layer name, its input, zeros of its output's shape -> what it puts out."""


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
    """A network whose hidden layers can have any part of their units.

    All layers have the same part, the first int(c x width) of c units, so that the channels of a
    sum agree; a depthwise convolution follows what it reads. Inputs and outputs of the network stay
    whole. Layers that are not prunable are narrowed like the others. `shape` is that of one input.

    Raises BenchError for what cannot be narrowed: a layer that is used twice, as recurrent ones
    are, grouped convolutions that are not depthwise, operations that turn 0 into something else.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        self.layers = dict(layers(network))
        for name, layer in self.layers.items():
            if not isinstance(layer, nn.Linear) and layer.groups > 1 and not is_depthwise(layer):
                raise BenchError(f"{name} has groups of several channels: it cannot be narrowed")
        self._prunable = {name for name, _ in prunable(network)}
        self._walker, self._input = self._prepared(network), torch.ones(1, *shape)
        self._last = self._output_layers()

    def units(self, width: Fraction) -> dict[str, Units]:
        """Which units each layer keeps at `width`, by layer name."""
        found: dict[str, Units] = {}

        def answer(name: str, inputs: Tensor, output: Tensor) -> Tensor:
            layer = self.layers[name]
            of, at = len(layer.weight), _dimension(layer)
            outputs = torch.arange(of) < (of if name in self._last else int(of * width))
            found[name] = Units(outputs, inputs.movedim(at, 0).flatten(1).any(1))
            return output.movedim(at, -1).add(outputs).movedim(-1, at)

        self._walk(1.0, answer)
        return found

    def kept(self, width: Fraction) -> int:
        """Number of prunable weights that are kept at `width`."""
        return sum(
            int(units.block(self.layers[name]).sum())
            for name, units in self.units(width).items()
            if weight_name(name) in self._prunable
        )

    def widest(self, most: int) -> Fraction:
        """Find the largest width with at most `most` prunable weights, at least a unit everywhere.

        Raises BenchError where even the smallest network has more.
        """
        counts = [len(self.layers[name].weight) for name in self.layers if name not in self._last]
        steps = {Fraction(kept, of) for of in set(counts) for kept in range(1, of + 1)}
        widths = sorted(width for width in steps if width * min(counts) >= 1) or [Fraction(1)]
        fitting = bisect_right(widths, most, key=self.kept)
        if not fitting:
            least = self.kept(widths[0])
            raise BenchError(f"no width fits: the smallest network has {least} weights, not {most}")
        return widths[fitting - 1]

    def _output_layers(self) -> set[str]:
        """Name the layers whose output reaches that of the network without another between."""
        leaves: dict[str, Tensor] = {}

        def cut(name: str, inputs: Tensor, output: Tensor) -> Tensor:
            if name in leaves:
                raise BenchError(f"{name} is used more than once: it cannot be narrowed")
            if inputs.any():
                raise BenchError(f"what {name} reads is not 0 where nothing is: leave out sigmoids")
            leaves[name] = output.requires_grad_()
            return leaves[name]

        with torch.enable_grad():
            output = self._walk(0.0, cut)
            found = torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
        return {name for name, gradient in zip(leaves, found, strict=True) if gradient is not None}

    def _walk(self, value: float, answer: Answer) -> Tensor:
        """Send an input of one value through the network whose layers give other answers."""
        self._answer = answer
        with Transparent():
            output: Tensor = self._walker(self._input * value)
        return output

    def _prepared(self, network: nn.Module) -> nn.Module:
        """Copy the network; its layers compute nothing but the shape of what they put out."""
        walker = copy.deepcopy(network).cpu().float().eval()
        for name, layer in layers(walker):
            layer.forward = partial(self._stand_in, name, copy.deepcopy(layer).to("meta"))  # type: ignore[method-assign]
        return walker

    def _stand_in(self, name: str, layer: Layer, inputs: Tensor) -> Tensor:
        shape = layer(inputs.to("meta")).shape
        return self._answer(name, inputs.detach(), torch.zeros(shape))


def is_depthwise(layer: Layer) -> bool:
    """Tell whether each channel has a filter of its own."""
    if isinstance(layer, nn.Linear):
        return False
    return 1 < layer.groups == layer.in_channels == layer.out_channels


def _dimension(layer: Layer) -> int:
    """Where the units stand in inputs and outputs."""
    return -1 if isinstance(layer, nn.Linear) else 1
