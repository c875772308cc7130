"""Random pruning: what a score must beat to be worth its name."""

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
        """`uniform`: every weight has the same chance. `shuffled-magnitude`, with scope=local: the
        baseline "rand" of NTT's code (section 2 of its specification), in which magnitudes move
        along one axis only, that of a linear layer's inputs or of a kernel's rows: every output
        unit keeps as many weights as pruning by magnitude leaves it."""

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """Draw one standard normal per weight, from the stream `mask`; or a place for each."""
        drawn = random_scores(network, self.context.rng.generator("mask"))
        if self.hyper.draw == "uniform":
            return drawn
        return {name: _moved(weight, drawn[name]) for name, weight in prunable(network)}


def _moved(weight: Tensor, drawn: Tensor) -> Tensor:
    """Magnitudes, in an order along one axis that is drawn anew at each place of the others."""
    axis = 1 if weight.ndim == 2 else 2
    return weight.detach().abs().gather(axis, drawn.argsort(axis))
