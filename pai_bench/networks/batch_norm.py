"""Batch norm whose statistics are those of the whole batch, or of equal parts of it.

On several devices each has a part of every batch. PyTorch's batch norm would take the statistics of
that part; here they are those that the recipe asks for (`batch_norm_parts`), whatever the number of
devices.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm

from pai_bench.core import distributed
from pai_bench.core.errors import BenchError


class Pieces(Protocol):
    """How a device cuts its part of a batch (training/pieces.py)."""

    count: int
    current: int | None


class _InParts(nn.Module):
    """What the three kinds of batch norm share: they become this while they are trained."""

    parts: int
    """Parts of the whole batch that are normalised apart."""
    pieces: Pieces
    """How the part of a device is cut."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise a batch (N, C, ...), of which this rank has its part."""
        norm: Any = self
        if not (self.training or norm.running_mean is None):
            return super().forward(inputs)  # type: ignore[no-any-return]
        ranks = distributed.ranks()
        if self.parts > 1:
            pieces = 1 if self.pieces.current is None else self.pieces.count
            return _normalised_apart(norm, inputs, self.parts // (ranks * pieces))
        return _normalised_together(norm, inputs) if ranks > 1 else super().forward(inputs)


class _BatchNorm1d(_InParts, nn.BatchNorm1d):
    pass


class _BatchNorm2d(_InParts, nn.BatchNorm2d):
    pass


class _BatchNorm3d(_InParts, nn.BatchNorm3d):
    pass


_KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _BatchNorm1d,
    nn.BatchNorm2d: _BatchNorm2d,
    nn.BatchNorm3d: _BatchNorm3d,
}


def check_parts(parts: int, ranks: int) -> None:
    """Raise BenchError where so many parts of a batch cannot be spread over so many devices."""
    if parts > 1 and parts % ranks:
        raise BenchError(
            f"batch_norm_parts {parts} cannot be spread over {ranks} devices: use a divisor"
        )


def check_pieces(network: nn.Module, parts: int, ranks: int, pieces: int) -> None:
    """Raise BenchError where a network needs more of a batch at once than one of its pieces."""
    norms = any(isinstance(module, tuple(_KINDS)) for module in network.modules())
    if norms and pieces > 1 and parts % (ranks * pieces):
        raise BenchError(
            f"batch norm takes the statistics of {parts} part{'s' * (parts > 1)} of a batch, which "
            f"{ranks * pieces} pieces do not have: --set batch_norm_parts={ranks * pieces} does"
        )


def normalise_in_parts(network: nn.Module, parts: int, pieces: Pieces) -> None:
    """Let the batch norms of a network take the statistics of so many parts of the whole batch.

    The class of these layers is replaced: their parameters, buffers and names stay.

    Args:
        network: The network.
        parts: Number of parts.
        pieces: How the part of a device is cut.
    """
    for module in network.modules():
        if type(module) in _KINDS:
            norm: Any = module
            norm.__class__, norm.parts, norm.pieces = _KINDS[type(module)], parts, pieces


def normalise_as_usual(network: nn.Module) -> None:
    """Undo `normalise_in_parts`."""
    kinds = {changed: kind for kind, changed in _KINDS.items()}
    for module in network.modules():
        if type(module) in kinds:
            norm: Any = module
            norm.__class__ = kinds[type(module)]
            del norm.parts, norm.pieces


def _normalised_apart(norm: Any, inputs: Tensor, parts: int) -> Tensor:
    """Normalise each of this rank's parts; the running statistics are those of the first of all."""
    normalised = []
    ends = [number * len(inputs) // parts for number in range(parts + 1)]
    for number, (start, end) in enumerate(pairwise(ends)):
        part = inputs[start:end]
        mean, var = norm.running_mean, norm.running_var
        if number or norm.pieces.current or distributed.rank():
            mean = var = None
        elif norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        normalised.append(
            batch_norm(part, mean, var, norm.weight, norm.bias, True, _momentum(norm), norm.eps)
            if len(part)
            else part
        )
    if distributed.ranks() > 1 and norm.running_mean is not None:
        distributed.copy_from_first(norm.buffers())
    return torch.cat(normalised)


def _normalised_together(norm: Any, inputs: Tensor) -> Tensor:
    """Normalise by the statistics of the whole batch, of which each rank has a part."""
    normalise: Any = _Together.apply
    normalised, mean, var, count = normalise(inputs, norm.weight, norm.bias, norm.eps)
    _track(norm, mean, var * count / (count - 1))
    return normalised  # type: ignore[no-any-return]


class _Together(torch.autograd.Function):
    """Batch norm over all ranks; what it keeps for the backward pass is no more than its input."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, ...]:
        values, over, shape = _precise(inputs)
        size = values.new_tensor([values.numel() / values.shape[1]])
        sums = distributed.summed(torch.cat([values.sum(over), size]))
        mean, count = sums[:-1] / sums[-1], sums[-1]
        centred = values - mean.view(shape)
        var = distributed.summed(centred.square().sum(over)) / count
        scale = (var + eps).rsqrt()
        ctx.save_for_backward(inputs, weight, mean, scale, count)
        ctx.mark_non_differentiable(mean, var, count)
        normalised = centred * (scale if weight is None else scale * weight).view(shape)
        if bias is not None:
            normalised += bias.view(shape)
        return normalised.to(inputs.dtype), mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_statistics: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, scale, count = ctx.saved_tensors
        values, over, shape = _precise(inputs)
        upper = gradient.to(values.dtype)
        normalised = (values - mean.view(shape)) * scale.view(shape)
        of_bias, of_weight = upper.sum(over), (upper * normalised).sum(over)
        first, second = (distributed.summed(torch.stack([of_bias, of_weight])) / count).unbind()
        factor = scale if weight is None else scale * weight
        of_inputs = upper - first.view(shape) - normalised * second.view(shape)
        of_inputs *= factor.view(shape)
        if weight is None:
            return of_inputs.to(inputs.dtype), None, None, None
        return of_inputs.to(inputs.dtype), of_weight, of_bias, None


def _precise(inputs: Tensor) -> tuple[Tensor, list[int], list[int]]:
    """Inputs in single precision at least; the axes of a channel's values, and its shape."""
    values = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
    return values, [0, *range(2, inputs.dim())], [1, -1, *[1] * (inputs.dim() - 2)]


@torch.no_grad()
def _track(norm: Any, mean: Tensor, var: Tensor) -> None:
    if norm.running_mean is None:
        return
    norm.num_batches_tracked.add_(1)
    momentum = _momentum(norm)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_(var.to(norm.running_var.dtype), momentum)


def _momentum(norm: Any) -> float:
    if norm.momentum is None:
        return 1 / max(1, int(norm.num_batches_tracked))
    return float(norm.momentum)
