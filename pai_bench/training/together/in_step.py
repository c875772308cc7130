"""Networks in step: each has its own forward pass, all else of a step is done for all at once.

On a CPU the time of a step of a small network is mostly that of the Trainer, callbacks and
optimizer. Here that is spent once for K networks. The results are those of a training alone, bit by
bit: the same kernels run on the same tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor

from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.training.together.data import BundleBatch
from pai_bench.training.together.member import Member


class InStep:
    """The networks of a bundle, side by side.

    Args:
        members: Methods with chosen masks.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._parameters = [list(m.module.network.parameters()) for m in members]
        self._weights = [[w for _, w in prunable(m.module.network)] for m in members]
        self._factors: list[list[Tensor]] = [[] for _ in members]
        self._masks: list[Masks | None] = [None] * len(members)

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in chain.from_iterable(self._parameters):
            parameter.grad = None

    def losses(self, batch: BundleBatch, batch_idx: int) -> Mapping[int, Tensor]:
        """Compute the loss of each network that still trains, by its index."""
        losses = {
            index: member.run(member.module.training_step, batch.of(index), batch_idx)
            for index, member in enumerate(self._members)
            if member.is_training
        }
        return {index: loss for index, loss in losses.items() if loss is not None}

    def after_backward(self) -> None:
        """Do nothing: the networks have their gradients."""

    def mask_gradients(self) -> None:
        """Multiply the gradients of all weights by the masks that the methods have at this time."""
        gradients, factors = [], []
        for index, member in enumerate(self._members):
            if member.is_training and member.module.prunes:
                self._update(index, member.module.masks)
                for weight, factor in zip(self._weights[index], self._factors[index], strict=True):
                    if weight.grad is not None:
                        gradients.append(weight.grad)
                        factors.append(factor)
        if gradients:
            torch._foreach_mul_(gradients, factors)

    def _update(self, index: int, masks: Masks) -> None:
        if masks is not self._masks[index]:
            self._masks[index] = masks
            weights = zip(masks.values(), self._weights[index], strict=True)
            self._factors[index] = [mask.to(weight.dtype) for mask, weight in weights]

    def check(self) -> None:
        """Do nothing: nothing is shared that a method could replace."""
