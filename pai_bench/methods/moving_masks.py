"""Base class of methods that change their masks during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pai_bench.core import distributed
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.regrow import drop_and_grow
from pai_bench.training.module import SparseClassifier


class MovingMasks(SparseClassifier):
    """A method that changes its masks during training, by `change_masks`.

    `needs_data` and `needs_labels` are about `sparsify`: training itself always uses all data.
    """

    when = "during"
    needs_data = False
    needs_labels = False
    ranks_scores = False

    @property
    def total_steps(self) -> int:
        """Number of optimizer steps of the whole training."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return self.context.recipe.training_steps(data.train_size)

    def change_masks(self, masks: Masks) -> None:
        """Replace the masks during training, and reset the optimizer state where they change.

        Grown weights start from weight 0, momentum 0 and second moment 0. Pruned weights are 0 in
        all of these and stay so. Weights that are kept, and their state, do not change.

        Args:
            masks: One bool tensor per prunable weight, of its shape, on any device.

        Raises:
            BenchError: A layer's mask is missing, unknown, or of another shape than its weight.
        """
        previous = self.masks
        self.set_masks(masks)
        distributed.check_same(f"{self.name}: masks", self.masks.digest)
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        reset_moved(optimizer, self.network, previous, self.masks)


def moved(
    network: nn.Module,
    masks: Masks,
    scores: Mapping[str, Tensor],
    counts: Mapping[str, tuple[int, int]],
) -> Masks:
    """Drop the smallest weights of each layer and grow others; `counts` is (dropped, grown)."""
    return Masks(
        {
            name: drop_and_grow(weight, masks[name], scores[name], *counts[name])
            for name, weight in prunable(network)
        }
    )


def reset_moved(
    optimizer: torch.optim.Optimizer, network: nn.Module, before: Masks, after: Masks
) -> None:
    """Set the optimizer's state to 0, but for weights that are kept before and after a move."""
    for name, weight in prunable(network):
        reset = ~(before[name] & after[name])
        for state in optimizer.state.get(weight, {}).values():
            if isinstance(state, Tensor) and state.shape == weight.shape:
                state.masked_fill_(reset, 0)
