"""Magnitude pruning of the untrained network."""

from __future__ import annotations

from torch import Tensor, nn

from pai_bench import PruneAtInit, prunable, register
from pai_bench.training.restricted_batches import Batches


@register("magnitude")
class Magnitude(PruneAtInit):
    """Keep the largest |w| at initialisation."""

    needs_data = False
    needs_labels = False

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """|w|, without scaling by layer: layers with a large fan-in lose most weights."""
        return {name: weight.detach().abs() for name, weight in prunable(network)}
