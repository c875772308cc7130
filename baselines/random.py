"""Random pruning: the baseline that every score has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from pai_bench import PruneAtInit, prunable, register
from pai_bench.sparsity.select import random_scores
from pai_bench.training.restricted_batches import Batches


@register("random")
class Random(PruneAtInit):
    """Keep weights at random; with scope=local exactly the same density in each layer."""

    needs_data = False
    needs_labels = False

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """Where the scores come from."""

        draw: Literal["uniform", "shuffled-magnitude"] = "uniform"
        """`uniform`: every weight has the same probability. `shuffled-magnitude`, with scope=local:
        the baseline "rand" of NTT's code, which shuffles magnitudes along one axis only, that of a
        linear layer's inputs or of a kernel's rows: every output unit keeps as many weights as in
        magnitude pruning."""

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """Draw one standard normal per weight, from the stream `mask`; or shuffle by them."""
        noise = random_scores(network, self.context.rng.generator("mask"))
        if self.hyper.draw == "uniform":
            return noise
        return {name: _shuffled(weight, noise[name]) for name, weight in prunable(network)}


def _shuffled(weight: Tensor, noise: Tensor) -> Tensor:
    """Shuffle magnitudes along one axis, independently at each position of the others."""
    axis = 1 if weight.ndim == 2 else 2
    return weight.detach().abs().gather(axis, noise.argsort(axis))
