"""Iterative magnitude pruning: the lottery ticket hypothesis (ICLR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from pai_bench import Masks, PruneAtInit, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.networks.scratch import scratch_copy
from pai_bench.training.loop import train


@register("imp")
class IMP(PruneAtInit):
    """Train, prune the smallest weights, rewind the others, and repeat; then train."""

    paper = "arXiv:1803.03635"
    when = "path"
    trains_to_score = True
    scores_on_all_ranks = True

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """Each round is a whole training; density .01 takes 21 at 20 % a round, as published."""

        rounds: int = 5
        rewind: int = 0
        """Step of the first training to whose weights every later training rewinds."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.rewind < 0:
                raise BenchError(f"rewind must be at least 0 steps, got {self.rewind}")

    def sparsify(self, batches: Any) -> Masks:
        """Prune by the trained magnitudes in rounds; leave the network with rewound weights."""
        self.masks = Masks.ones(self.network)
        self.scoring_flops = 0.0
        with self.context.rng.as_global("score"):
            for number in range(1, self.hyper.rounds + 1):
                self.round = number
                trained = prunable(self._trained(batches))
                self.masks = self.keep({name: w.detach().abs() for name, w in trained})
        return self.masks

    def _trained(self, batches: Any) -> nn.Module:
        """Train a copy of the network; the first training provides the weights to rewind to."""
        network, recipe = scratch_copy(self.network), self.context.recipe

        def save_rewind_point(step: int) -> None:
            if self.round == 1 and step == self.hyper.rewind:
                self.network.load_state_dict(network.state_dict())

        effort = train(
            network, self.masks, recipe, batches, save_rewind_point, loss=self.context.loss
        )
        if effort.steps < self.hyper.rewind:
            steps = f"the training has {effort.steps}"
            raise BenchError(f"rewind is {self.hyper.rewind} steps, {steps}")
        self.scoring_flops += effort.flops
        return network
