"""Random pruning: what a score must beat to be worth its name."""

from __future__ import annotations

from torch import Tensor, nn

from pai_bench.methods.base import Batches, PruneAtInit
from pai_bench.methods.registry import register
from pai_bench.sparsity.select import random_scores


@register("random")
class Random(PruneAtInit):
    """Keep weights at random; with scope=local exactly the same density in each layer."""

    needs_data = False
    needs_labels = False

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """Draw one standard normal per weight, from the stream `mask`."""
        return random_scores(network, self.task.streams.generator("mask"))
