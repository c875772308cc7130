"""Random pruning: what a score must beat to be worth its name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pai_bench.methods.base import Batches, PruneAtInit
from pai_bench.methods.registry import register
from pai_bench.sparsity.masks import prunable


@register("random")
class Random(PruneAtInit):
    """Keep weights at random; with scope=local exactly the same density in each layer."""

    needs_data = False
    needs_labels = False

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """Draw one standard normal per weight, from the stream `mask`."""
        generator = self.task.streams.generator("mask")
        return {
            name: torch.randn(weight.shape, generator=generator).to(weight.device)
            for name, weight in prunable(network)
        }
