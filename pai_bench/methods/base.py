"""The base class of methods that prune at initialisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pai_bench.core import distributed
from pai_bench.core.errors import BenchError
from pai_bench.core.xla import mark_step
from pai_bench.networks.scratch import scratch_copy
from pai_bench.sparsity.constant import constant_layers
from pai_bench.sparsity.masks import Masks
from pai_bench.sparsity.select import density_schedule, topk_masks
from pai_bench.training.flop_counter import FlopCounter
from pai_bench.training.module import SparseClassifier, in_layer_order
from pai_bench.training.restricted_batches import Batches


class PruneAtInit(SparseClassifier):
    """Score the weights of the untrained network, keep those with the highest scores, train.

    A method overrides `scores`, which gets a scratch copy of the network and may change it: the
    network that is trained keeps its initial weights, buffers and modes.
    """

    @dataclass(frozen=True)
    class Hyper:
        """How scores are turned into masks."""

        rounds: int = 1
        """Number of rounds of scoring and pruning."""
        schedule: Literal["exponential", "linear", "expinv"] = "exponential"
        """Densities of the rounds; the last is the density of the cell."""
        scope: Literal["global", "local", "er", "erk", "rigl-mnist"] = "global"
        """Rank weights over all layers (`global`), or within each layer at its own density: the
        same for all (`local`), Erdős–Rényi (`er`), Erdős–Rényi kernel (`erk`), or as in RigL's
        LeNet."""
        selection: Literal["exact", "strict"] = "exact"
        """`exact` breaks ties by position; `strict` over-prunes on ties, as authors' codes do."""

        def __post_init__(self) -> None:
            if self.rounds < 1:
                raise BenchError(f"rounds must be at least 1, got {self.rounds}")

    keeps_scratch: ClassVar[bool] = False
    """True: all rounds share one scratch copy; False: each round gets a fresh one."""
    on_constant_scores: ClassVar[Literal["error", "warning"]] = "error"
    """What `pai_bench.prune` does where no layer's scores tell its weights apart. A single such
    layer is a warning; in results of cells it is noted."""
    round = 0
    """Number of the current round, from 1."""

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """Score each prunable weight; the weights with the highest scores are kept.

        Called once per round. `self.masks` holds the masks of the round before (all True in the
        first), `self.round` the number of the round. Gradients are enabled, and the global random
        state is seeded from the stream `score`.

        Args:
            network: Scratch copy with the dense initial weights, on the device of the batches.
            batches: (images, labels), shaped (N, C, H, W) and (N,), for scoring. Without
                `needs_data` images are zeros; without `needs_labels` labels are None.

        Returns:
            Name of each prunable weight (see `prunable`) -> finite scores of the weight's shape.

        Raises:
            BenchError: The method cannot score this network.
        """
        raise NotImplementedError(f"{type(self).__name__} must define scores()")

    def sparsify(self, batches: Batches) -> Masks:
        """Score and prune in `rounds` rounds; the global random state is restored afterwards.

        Args:
            batches: Passed on to `scores`.

        Returns:
            The masks of the last round.

        Raises:
            BenchError: Scores are missing, unknown, of another shape than their weight, or not
                finite.
        """
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
        """Return the number of the round, if there are several."""
        return f"round {self.round} of {self.hyper.rounds}" if self.hyper.rounds > 1 else ""

    def _prune_once(self, scratch: nn.Module, batches: Batches) -> Masks:
        if self.round == 1:
            # All rounds cost the same, and counting slows a round down: count one.
            with FlopCounter() as counter:
                scores = self.scores(scratch, batches)
            self.scoring_flops = distributed.total(float(counter.total)) * self.hyper.rounds
        else:
            scores = self.scores(scratch, batches)
        mark_step(self.device)  # What reads of unfinished scores, computes them once more.
        scores = in_layer_order(scores, self.masks, f"{type(self).__name__}: scores")
        for name, score in scores.items():
            if not score.is_floating_point():
                what = f"{type(self).__name__}: scores of {name}"
                raise BenchError(f"{what} must be floating-point numbers, got {score.dtype}")
        if self.round in (1, self.hyper.rounds):
            found = constant_layers(scores, self.masks)
            self.constant_scores = tuple(dict.fromkeys((*self.constant_scores, *found)))
        return self.keep(scores)

    def check_batches(self, batches: Batches) -> None:
        """Raise BenchError if there are no batches, for methods that need them or their shape."""
        if not len(batches):
            raise BenchError(
                f"{self.name} needs at least one batch, if only for its shape; none was given"
            )

    def keep(self, scores: Mapping[str, Tensor]) -> Masks:
        """Turn scores into the masks of this round: its density, `scope` and `selection`.

        Args:
            scores: Name of each prunable weight -> finite scores of its shape.

        Returns:
            One bool tensor per prunable weight, True where the weight is kept.
        """
        hyper = self.hyper
        density = density_schedule(self.context.density, self.round, hyper.rounds, hyper.schedule)
        ranked = self.ranked(scores, self.masks)
        return topk_masks(
            ranked, density, scope=hyper.scope, rule=hyper.selection, alive=self.masks
        )
