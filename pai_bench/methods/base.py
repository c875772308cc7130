"""The contract of a method that prunes at initialisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pai_bench.core.errors import BenchError
from pai_bench.networks.scratch import scratch_copy
from pai_bench.sparsity.masks import Masks
from pai_bench.sparsity.select import density_schedule, topk_masks
from pai_bench.training.flop_counter import FlopCounter
from pai_bench.training.module import SparseClassifier, check_layers
from pai_bench.training.restricted_batches import Batches


class PruneAtInit(SparseClassifier):
    """Score the weights of the untrained network, keep the best, train what is left.

    A method overrides `scores`. It is given a scratch copy of the network, fresh each round, to do
    with as it likes: the network that is trained keeps its initial weights, buffers and modes.
    """

    @dataclass(frozen=True)
    class Hyper:
        """How scores become masks."""

        rounds: int = 1
        """Rounds of scoring and pruning on the way to the density."""
        schedule: Literal["exponential", "linear", "expinv"] = "exponential"
        scope: Literal["global", "local", "er", "erk", "rigl-mnist"] = "global"
        """Rank over all layers, or within each at a density of its own: the same for all (local),
        Erdős–Rényi, Erdős–Rényi kernel, or as in RigL's LeNet."""
        selection: Literal["exact", "strict"] = "exact"
        """`strict` over-prunes on ties, as the authors' codes do."""

        def __post_init__(self) -> None:
            if self.rounds < 1:
                raise BenchError(f"rounds must be at least 1, got {self.rounds}")

    keeps_scratch: ClassVar[bool] = False
    """True: `scores` is given the same copy in all rounds, as it left it the round before."""
    round = 0
    """The current round, from 1."""

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """Score each prunable weight, high scores are kept: parameter name -> tensor of its shape.

        `self.masks` are the masks so far; `network` holds the dense initial weights.
        """
        raise NotImplementedError(f"{type(self).__name__} must define scores()")

    def sparsify(self, batches: Batches) -> Masks:
        """Prune in `rounds` rounds; global random state is seeded for scoring and put back."""
        rng = self.context.rng
        with rng.as_global("score"), torch.inference_mode(False), torch.enable_grad():
            self.masks = Masks.ones(self.network)
            for number in range(1, self.hyper.rounds + 1):
                self.round = number
                self.report_progress()
                if number == 1 or not self.keeps_scratch:
                    scratch = scratch_copy(self.network)
                self.masks = self._prune_once(scratch, batches)
        return self.masks

    def progress_message(self) -> str:
        """The round, where there are several."""
        return f"round {self.round} of {self.hyper.rounds}" if self.hyper.rounds > 1 else ""

    def _prune_once(self, scratch: nn.Module, batches: Batches) -> Masks:
        if self.round == 1:
            # Each round costs the same: counting one is enough, and counting slows it down.
            with FlopCounter() as counter:
                scores = self.scores(scratch, batches)
            self.scoring_flops = float(counter.total) * self.hyper.rounds
        else:
            scores = self.scores(scratch, batches)
        check_layers(scores, self.masks, f"{type(self).__name__}: scores")
        return self.keep(scores)

    def check_batches(self, batches: Batches) -> None:
        """Raise BenchError where a method that looks at batches, or at their shape, has none."""
        if not len(batches):
            raise BenchError(f"{self.name} looks at batches, or at their shape: none was given")

    def keep(self, scores: Mapping[str, Tensor]) -> Masks:
        """Turn scores into the masks of this round, as the hyper-parameters say."""
        hyper = self.hyper
        density = density_schedule(self.context.density, self.round, hyper.rounds, hyper.schedule)
        ranked = self.ranked(scores, self.masks)
        return topk_masks(
            ranked, density, scope=hyper.scope, rule=hyper.selection, alive=self.masks
        )
