"""Iterative magnitude pruning: the lottery ticket hypothesis (ICLR 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pai_bench import Masks, PruneAtInit, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import random_state, set_random_state
from pai_bench.networks.scratch import scratch_copy
from pai_bench.store.search_cache import Search
from pai_bench.training.loop import Effort, train
from pai_bench.training.restricted_batches import Batches, next_epoch, start_epoch


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
        """Prune by the trained magnitudes in rounds; leave the network with rewound weights.

        The first round trains the dense network, whatever the density: cells of one seed share it.
        """
        first = self.get_or_compute(
            {"until_round": 1, "rewind": self.hyper.rewind}, lambda: self._first_round(batches)
        )
        self.network.load_state_dict(first["start"])
        settings = {
            **asdict(self.hyper),
            "from_round": 2,
            "density": self.context.density,
            "invert": self.context.sanity_check == "invert",
        }
        masks = self.get_or_compute(settings, lambda: self._later_rounds(batches, first))
        self.masks = Masks({name: mask.to(self._network_device) for name, mask in masks.items()})
        return self.masks

    @property
    def _network_device(self) -> torch.device:
        """Where the network is; outside of a Trainer the module itself does not know."""
        return next(self.network.parameters()).device

    def _first_round(self, batches: Batches) -> Search:
        """Train the dense network; the state holds its weights, those to start from, and what the
        next round goes on from: the epoch and the random numbers."""
        recipe = self.context.recipe
        steps = recipe.training_steps(len(batches) * recipe.batch_size)
        if steps < self.hyper.rewind:
            raise BenchError(f"rewind is {self.hyper.rewind} steps, the training has {steps}")
        with self.context.rng.as_global("score"):
            self.search_checkpoint.add("start", self.network)
            self.round, self.masks = 1, Masks.ones(self.network)
            trained, effort = self._trained(batches)
            state = {
                "trained": {name: w.detach().cpu() for name, w in prunable(trained)},
                "start": {name: t.cpu().clone() for name, t in self.network.state_dict().items()},
                "epoch": next_epoch(batches),
                "random": random_state(self._network_device),
            }
        return Search(state, effort.flops)

    def _later_rounds(self, batches: Batches, first: Mapping[str, Any]) -> Search:
        """Prune the trained network, and go through the other rounds; the state is the masks."""
        with self.context.rng.as_global("score"):
            set_random_state(first["random"], self._network_device)
            start_epoch(batches, first["epoch"])
            self.round, self.masks = 1, Masks.ones(self.network)
            weights = {name: w.to(self._network_device) for name, w in first["trained"].items()}
            rounds = Rounds(self._kept(weights))
            self.search_checkpoint.add("rounds", rounds)
            for number in range(rounds.done + 1, self.hyper.rounds + 1):
                self.round, self.masks = number, rounds.masks
                trained, effort = self._trained(batches)
                rounds.add(self._kept(dict(prunable(trained))), effort.flops)
        return Search({name: mask.cpu() for name, mask in rounds.masks.items()}, rounds.flops)

    def _kept(self, weights: Mapping[str, Tensor]) -> Masks:
        return self.keep({name: weight.detach().abs() for name, weight in weights.items()})

    def _trained(self, batches: Batches) -> tuple[nn.Module, Effort]:
        """Train a copy of the network; the first training provides the weights to rewind to."""
        network = scratch_copy(self.network)

        def save_rewind_point(step: int) -> None:
            if self.round == 1 and step == self.hyper.rewind:
                self.network.load_state_dict(network.state_dict())

        effort = train(
            network, self.masks, self.context.recipe, batches, save_rewind_point,
            loss=self.context.loss, checkpoint=self.search_checkpoint,
        )  # fmt: skip
        return network, effort


class Rounds:
    """What the rounds so far have found, for a checkpoint.

    Args:
        masks: Those of the first round.
    """

    def __init__(self, masks: Masks) -> None:
        self.masks, self.done, self.flops = masks, 1, 0.0

    def add(self, masks: Masks, flops: float) -> None:
        """Note the masks of another round, and what its training took."""
        self.masks, self.done, self.flops = masks, self.done + 1, self.flops + flops

    def state_dict(self) -> dict[str, Any]:
        """Masks, number of rounds, and cost of those after the first."""
        masks = {name: mask.cpu() for name, mask in self.masks.items()}
        return {"masks": masks, "done": self.done, "flops": self.flops}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        devices = {name: mask.device for name, mask in self.masks.items()}
        self.masks = Masks({n: mask.to(devices[n]) for n, mask in state["masks"].items()})
        self.done, self.flops = state["done"], state["flops"]
