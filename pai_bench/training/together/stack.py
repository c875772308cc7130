"""Networks as one stack: one forward and backward pass of K networks' stacked tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.training.together.data import BundleBatch
from pai_bench.training.together.member import Member
from pai_bench.training.together.stacked_network import StackedNetwork


class Stack:
    """The networks of a bundle as slices of a `StackedNetwork`.

    Args:
        members: Methods with chosen masks, on networks that can be stacked.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._network = StackedNetwork([member.module.network for member in members])
        self._network.use([member.random for member in members])
        names = [name for name, _ in prunable(members[0].module.network)]
        self._weights: list[Tensor] = [self._network.module.get_parameter(name) for name in names]
        self._factors = [torch.ones_like(weight) for weight in self._weights]
        self._masks: list[Masks | None] = [None] * len(members)

    def take_over(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer that all networks share step their stacked tensors.

        A network that is taken out later is stepped too, by its weight decay: it has failed.
        """
        self._network.take_over(optimizer)

    def zero_grad(self) -> None:
        """Drop all gradients."""
        self._network.zero_grad()

    def losses(self, batch: BundleBatch, batch_idx: int) -> Mapping[int, Tensor]:
        """Compute the loss of each network that still trains, by its index."""
        means = self.means(batch).unbind(0)
        return {index: means[index] for index in self.count(batch)}

    def count(self, batch: BundleBatch) -> Sequence[int]:
        """Count a batch in the cost of each network that still trains; return their indices."""
        training = [i for i, member in enumerate(self._members) if member.is_training]
        for index in training:
            self._members[index].module.training_cost.count(batch.size)
        return training

    def means(self, batch: BundleBatch) -> Tensor:
        """Compute the losses of all networks: (K,).

        Each is the mean cross-entropy, as that of `SparseClassifier.batch_loss`.
        """
        logits, labels = self._network.logits(batch.images()), batch.labels()
        smoothing = self._members[0].module.context.recipe.label_smoothing
        of_images = cross_entropy(
            logits.flatten(0, 1), labels.flatten(), label_smoothing=smoothing, reduction="none"
        )
        return of_images.view_as(labels).mean(0)

    def after_backward(self) -> None:
        """Hand each network its slices of the gradients."""
        self._network.share_gradients()

    def mask_gradients(self) -> None:
        """Multiply the gradients of all weights by the masks that the methods have at this time."""
        for index, member in enumerate(self._members):
            if member.module.prunes:
                self._update(index, member.module.masks)
        pairs = [
            (weight.grad, factor)
            for weight, factor in zip(self._weights, self._factors, strict=True)
            if weight.grad is not None
        ]
        if pairs:
            torch._foreach_mul_([grad for grad, _ in pairs], [factor for _, factor in pairs])

    def _update(self, index: int, masks: Masks) -> None:
        if masks is not self._masks[index]:
            self._masks[index] = masks
            for factor, mask in zip(self._factors, masks.values(), strict=True):
                factor[index] = mask

    def check(self) -> None:
        """Raise BenchError where a network's tensors no longer are slices of the stack."""
        if not self._network.is_aliased():
            raise BenchError(
                "a method has replaced tensors of its network instead of changing them in place; "
                "run these cells with --stack off"
            )
