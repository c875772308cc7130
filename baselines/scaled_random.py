"""Random pruning with weights scaled up: a baseline of Neural Tangent Transfer (ICML 2020)."""

from __future__ import annotations

import torch

from pai_bench import Masks, prunable, register
from pai_bench.baselines.random import Random
from pai_bench.training.restricted_batches import Batches


@register("scaled-random")
class ScaledRandom(Random):
    """Keep weights at random, divided by the square root of the density; biases do not change."""

    paper = "NTT (ICML 2020)"
    changes_weights = True

    @torch.no_grad()
    def sparsify(self, batches: Batches) -> Masks:
        """Choose at random, and scale weights, so that sums over inputs keep their variance."""
        masks = super().sparsify(batches)
        for _, weight in prunable(self.network):
            weight.div_(self.context.density**0.5)
        return masks
