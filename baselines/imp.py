"""Iterative magnitude pruning: the lottery ticket hypothesis (ICLR 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from pai_bench import Masks, PruneAtInit, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.networks.scratch import scratch_copy
from pai_bench.store.search_cache import Search
from pai_bench.training.loop import train
from pai_bench.training.restricted_batches import Batches


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

    def sparsify(self, batches: Batches) -> Masks:
        """Prune by the trained magnitudes in rounds; leave the network with rewound weights."""
        settings = {
            **asdict(self.hyper),
            "density": self.context.density,
            "invert": self.context.sanity_check == "invert",
        }
        state = self.get_or_compute(settings, lambda: self._search(batches))
        self.network.load_state_dict(state["start"])
        device = next(self.network.parameters()).device
        self.masks = Masks({name: mask.to(device) for name, mask in state["masks"].items()})
        return self.masks

    def _search(self, batches: Batches) -> Search:
        """Go through the rounds; the state holds the masks, and the weights to start from."""
        rounds = Rounds(self.network)
        with self.context.rng.as_global("score"):
            self.search_checkpoint.add("rounds", rounds)
            for number in range(rounds.done + 1, self.hyper.rounds + 1):
                self.round, self.masks = number, rounds.masks
                trained = prunable(self._trained(batches, rounds))
                rounds.masks = self.keep({name: w.detach().abs() for name, w in trained})
                rounds.done = number
        state = rounds.state_dict()
        return Search({"start": state["start"], "masks": state["masks"]}, rounds.flops)

    def _trained(self, batches: Batches, rounds: Rounds) -> nn.Module:
        """Train a copy of the network; the first training provides the weights to rewind to."""
        network, recipe = scratch_copy(self.network), self.context.recipe

        def save_rewind_point(step: int) -> None:
            if self.round == 1 and step == self.hyper.rewind:
                self.network.load_state_dict(network.state_dict())

        effort = train(
            network, self.masks, recipe, batches, save_rewind_point, loss=self.context.loss,
            checkpoint=self.search_checkpoint,
        )  # fmt: skip
        if effort.steps < self.hyper.rewind:
            steps = f"the training has {effort.steps}"
            raise BenchError(f"rewind is {self.hyper.rewind} steps, {steps}")
        rounds.flops += effort.flops
        return network


class Rounds:
    """What the rounds so far have found, for a checkpoint.

    Args:
        network: Its weights are those to start from.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network, self.masks = network, Masks.ones(network)
        self.done, self.flops = 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Masks, weights to start from, number of rounds and their cost; tensors are copies."""
        start = {name: tensor.cpu().clone() for name, tensor in self._network.state_dict().items()}
        masks = {name: mask.cpu() for name, mask in self.masks.items()}
        return {"start": start, "masks": masks, "done": self.done, "flops": self.flops}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._network.load_state_dict(state["start"])
        device = next(self._network.parameters()).device
        self.masks = Masks({name: mask.to(device) for name, mask in state["masks"].items()})
        self.done, self.flops = state["done"], state["flops"]
