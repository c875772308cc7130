"""SNIP: Single-shot Network Pruning based on Connection Sensitivity (ICLR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from pai_bench import PruneAtInit, prunable, register
from pai_bench.networks.recompute import is_large, recompute_activations
from pai_bench.sparsity.saliency import (
    add_into,
    float_masks,
    mask_gradients,
    masked_forward,
    sum_over,
)
from pai_bench.training.restricted_batches import Batches, afresh


@register("snip")
class SNIP(PruneAtInit):
    """Keep the weights whose removal would change the loss most: |dL/dm|."""

    paper = "SNIP (ICLR 2019)"
    scores_on_all_ranks = True

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """Batch norm and weight decay while scoring.

        With a `scope` by layer and one batch, this is SNIP as in RigL's code.
        """

        l2: bool = False
        """True: the loss includes the recipe's L2 term, as in RigL's code: |w (g + c w)|."""
        mode: Literal["train", "eval"] = "train"
        """`train` normalises by the batch, as NTK-SAP's code does for all its baselines; `eval`
        by the running statistics, as the original SNIP does."""
        score_batches: Literal["fixed", "fresh"] = "fixed"
        """In rounds: the same batches in each; or the same images in another order and augmented
        anew, as in NTK-SAP's code."""

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """|sum over batches of dL/dm|, L the mean cross-entropy, m the masks as numbers."""
        self.check_batches(batches)
        if self.hyper.score_batches == "fresh" and self.round > 1:
            batches = afresh(batches, self.round)
        network.train(self.hyper.mode == "train")
        if is_large(batches[0][0]):
            recompute_activations(network)

        def gradients(_number: int, images: Any, labels: Any) -> dict[str, Tensor]:
            masks = float_masks(self.masks, network)
            loss = self.loss(masked_forward(network, masks)(images), labels)
            of_batch = mask_gradients(loss, masks)
            if self.hyper.l2:
                add_into(of_batch, self._decay(network))
            return of_batch

        total = sum_over(batches, gradients, prunable(network))
        return {name: gradient.abs() for name, gradient in total.items()}

    def _decay(self, network: nn.Module) -> dict[str, Tensor]:
        """w times the gradient of the L2 term; 0 for pruned weights."""
        rate = self.context.recipe.weight_decay
        weights = prunable(network)
        return {n: rate * weight.detach().square() * self.masks[n] for n, weight in weights}

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of a batch, unless the caller has a loss of its own."""
        return self.context.loss(logits, labels)
