"""Layers of K networks as one: weights with a leading axis K, inputs K * C channels wide.

Images stay (N, K * C, H, W) and features (N, K * C), the channels of a network together. So what a
network does between these layers works on a stack as it is: elementwise functions, pooling over
images, sums of branches, flattening.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

Siblings = Sequence[nn.Module]
"""The layers at one place of K networks."""


class NotStackable(Exception):
    """Networks that cannot be trained as one, and why."""


class StackedLayer(nn.Module):
    """Base of stacked layers: parameters and buffers of K layers, copied, by their names.

    Args:
        siblings: K layers of one class with the same settings.
    """

    def __init__(self, siblings: Siblings) -> None:
        super().__init__()
        self.networks = len(siblings)
        for name, first in siblings[0].named_parameters(recurse=False):
            weights = [sibling.get_parameter(name) for sibling in siblings]
            if any(weight.requires_grad != first.requires_grad for weight in weights):
                raise NotStackable(f"{name} is trained in some networks only")
            stacked = nn.Parameter(torch.stack([w.data for w in weights]), first.requires_grad)
            self.register_parameter(name, stacked)
        for name, _ in siblings[0].named_buffers(recurse=False):
            self.register_buffer(name, torch.stack([s.get_buffer(name) for s in siblings]))


class StackedLinear(StackedLayer):
    """K linear layers as a batched product."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, siblings: Siblings) -> None:
        super().__init__(siblings)
        if "bias" not in self._parameters:
            self.bias = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, K * in) to (N, K * out)."""
        if inputs.ndim != 2:
            raise NotStackable(f"a linear layer gets inputs with {inputs.ndim} axes")
        of_network = inputs.view(len(inputs), self.networks, -1).transpose(0, 1)
        weights = self.weight.transpose(1, 2)
        if self.bias is None:
            outputs = torch.bmm(of_network, weights)
        else:
            outputs = torch.baddbmm(self.bias[:, None], of_network, weights)
        return outputs.transpose(0, 1).reshape(len(inputs), -1)


class StackedConv2d(StackedLayer):
    """K convolutions as one with K times the groups."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, siblings: Siblings) -> None:
        super().__init__(siblings)
        first: Any = siblings[0]
        if "bias" not in self._parameters:
            self.bias = None
        if first.padding_mode != "zeros":
            raise NotStackable(f"a convolution pads with {first.padding_mode}")
        self._how = first.stride, first.padding, first.dilation, first.groups * self.networks

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, K * C, H, W) to (N, K * out, H', W')."""
        bias = None if self.bias is None else self.bias.flatten()
        return functional.conv2d(inputs, self.weight.flatten(0, 1), bias, *self._how)


class StackedBatchNorm2d(StackedLayer):
    """K batch norms as one over K * C channels."""

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor
    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, siblings: Siblings) -> None:
        super().__init__(siblings)
        first: Any = siblings[0]
        if first.momentum is None:
            raise NotStackable("a batch norm averages over all batches")
        for name in ("weight", "bias"):
            if name not in self._parameters:
                setattr(self, name, None)
        for name in ("running_mean", "running_var"):
            if name not in self._buffers:
                setattr(self, name, None)
        self._momentum, self._eps = first.momentum, first.eps

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise (N, K * C, H, W) by the statistics of each channel."""
        mean, variance, weight, bias = (
            None if values is None else values.flatten()
            for values in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        tracked = self.training and mean is not None
        if tracked:
            self.num_batches_tracked.add_(1)
        batch = self.training or mean is None
        return functional.batch_norm(
            inputs, mean, variance, weight, bias, batch, self._momentum, self._eps
        )


class StackedDropout(nn.Module):
    """Dropout of K networks, each with the random numbers that it has alone.

    `generators` holds one generator for each network; set before the first training step. On a GPU
    a network draws from the device's generator instead, as its place in a stack decides.
    """

    generators: Sequence[Generator] = ()

    def __init__(self, siblings: Siblings) -> None:
        super().__init__()
        first: Any = siblings[0]
        self.networks, self.p = len(siblings), first.p

    def forward(self, inputs: Tensor) -> Tensor:
        """Zero elements of (N, K * C, ...) at random, and scale the others."""
        if not self.training or self.p == 0:
            return inputs
        if inputs.device.type != "cpu":
            return functional.dropout(inputs, self.p)
        keep = 1 - self.p
        parts = [
            torch.empty_like(part, memory_format=torch.contiguous_format)
            .bernoulli_(keep, generator=generator)
            .div_(keep)
            for part, generator in zip(inputs.chunk(self.networks, 1), self.generators, strict=True)
        ]
        return inputs * torch.cat(parts, 1)


CONVERSIONS: dict[type[nn.Module], Callable[[Siblings], nn.Module]] = {
    nn.Linear: StackedLinear,
    nn.Conv2d: StackedConv2d,
    nn.BatchNorm2d: StackedBatchNorm2d,
    nn.Dropout: StackedDropout,
}
"""Layers that are replaced, by their exact class."""
_SETTINGS = (
    "in_features", "out_features", "in_channels", "out_channels", "kernel_size", "stride",
    "padding", "dilation", "groups", "padding_mode", "momentum", "eps", "p", "affine",
    "track_running_stats",
)  # fmt: skip


def stacked_layer(name: str, siblings: Siblings) -> nn.Module | None:
    """Replace the layers at one place of K networks by one; None where they hold no numbers.

    Raises:
        NotStackable: They have parameters or randomness, and are of a class that has no conversion.
    """
    kind = type(siblings[0])
    if kind in CONVERSIONS:
        if any(type(other) is not kind or _unlike(siblings[0], other) for other in siblings):
            raise NotStackable(f"networks differ in {name}")
        return CONVERSIONS[kind](siblings)
    own = [*siblings[0].named_parameters(recurse=False), *siblings[0].named_buffers(recurse=False)]
    if own or "dropout" in kind.__name__.lower():
        raise NotStackable(f"{name or 'the network'} is a {kind.__name__}")
    return None


def _unlike(first: nn.Module, other: nn.Module) -> bool:
    return any(getattr(first, key, None) != getattr(other, key, None) for key in _SETTINGS)
