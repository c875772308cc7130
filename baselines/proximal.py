"""Proximal SGD with an l1 or group-lasso penalty, at one strength of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pai_bench import Masks, SparseClassifier, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.sparsity.units import keep_units, per_filter
from pai_bench.store.search_cache import Search
from pai_bench.training.loop import train
from pai_bench.training.optimizer import build_optimizer


@register("proximal")
class Proximal(SparseClassifier):
    """Train with an l1 penalty, keep the largest weights, retrain them from the start.

    The penalty lam * sum |w| acts by its proximal map after each step of the recipe's optimizer: a
    soft threshold of learning rate * lam, as in proximal gradient descent. One penalised training
    serves all densities of a seed.
    """

    when = "path"
    trains_to_score = True
    scores_on_all_ranks = True

    @dataclass(frozen=True)
    class Hyper:
        """Penalty and ranking."""

        lam: float = 1e-4
        """Strength of the penalty."""
        scope: Literal["global", "local"] = "global"

        def __post_init__(self) -> None:
            if self.lam < 0:
                raise BenchError(f"lam must be at least 0, got {self.lam:g}")

    def sparsify(self, batches: Any) -> Masks:
        """Train with the penalty, or load that training from the search cache; rank by size."""
        state = self.get_or_compute({"lam": self.hyper.lam}, lambda: self._penalised(batches))
        weights = dict(prunable(self.network))
        sizes = {n: self._size(state["weights"][n]).to(self.device) for n in weights}
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        return keep_units(self.ranked(sizes), shapes, self.context.density, self.hyper.scope)

    def _penalised(self, batches: Any) -> Search:
        """Train a copy by the recipe, with a proximal step after each optimizer step."""
        network, recipe = copy.deepcopy(self.network), self.context.recipe
        optimizer = build_optimizer(network, recipe)
        weights = [weight for _, weight in prunable(network)]
        with self.context.rng.as_global("score"):
            prox = self._prox(weights, optimizer)
            effort = train(
                network, Masks.ones(network), recipe, batches, prox, optimizer,
                checkpoint=self.search_checkpoint,
            )  # fmt: skip
        return Search(
            {"weights": {name: w.detach().cpu() for name, w in prunable(network)}}, effort.flops
        )

    def _prox(
        self, weights: list[Tensor], optimizer: torch.optim.Optimizer
    ) -> Callable[[int], None]:
        """Callback that applies the proximal map after a step, at that step's learning rate."""

        @torch.no_grad()
        def shrink(_step: int) -> None:
            threshold = float(optimizer.param_groups[0]["lr"]) * self.hyper.lam
            for weight in weights:
                factor = 1 - threshold / self._size(weight)
                weight.mul_(factor.clamp_(min=0.0).nan_to_num_(0.0))

        return shrink

    def _size(self, weight: Tensor) -> Tensor:
        """Size of each weight, or unit, that the threshold is compared with."""
        return weight.abs()


@register("proximal-filters")
class ProximalFilters(Proximal):
    """Train with a group lasso on filters, keep the largest ones whole, retrain from the start.

    The penalty of a filter of n weights is lam * sqrt(n) times its norm, as in DessiLBI's search
    for tickets; linear layers have the l1 penalty and keep single weights.
    """

    exact_density = False

    def _size(self, weight: Tensor) -> Tensor:
        """Root mean square of each filter, |w| of a linear layer."""
        if weight.dim() == 2:
            return super()._size(weight)
        return per_filter(weight) / math.sqrt(weight[0].numel())
