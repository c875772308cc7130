"""Random filters: the baseline that every ranking of filters has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from pai_bench import Masks, SparseClassifier, prunable, register
from pai_bench.sparsity.units import keep_units
from pai_bench.training.restricted_batches import Batches


@register("random-filters")
class RandomFilters(SparseClassifier):
    """Keep whole filters at random, and single weights of linear layers."""

    needs_data = False
    needs_labels = False
    ranks_scores = False
    exact_density = False

    @dataclass(frozen=True)
    class Hyper:
        """How densities are spread over layers."""

        scope: Literal["global", "local"] = "global"
        """Rank units over all layers, or within each at the same density."""

    def sparsify(self, batches: Batches) -> Masks:
        """Draw one standard normal per unit, from the stream `mask`."""
        generator = self.context.rng.generator("mask")
        scores, shapes = {}, {}
        for name, weight in prunable(self.network):
            shapes[name] = tuple(weight.shape)
            units = shapes[name] if weight.dim() == 2 else (len(weight), *[1] * (weight.dim() - 1))
            scores[name] = torch.randn(units, generator=generator, device="cpu").to(weight.device)
        return keep_units(scores, shapes, self.context.density, self.hyper.scope)
