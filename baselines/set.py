"""SET: sparse evolutionary training (Nature Communications 2018), as RigL's paper runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from pai_bench import DynamicSparse, register
from pai_bench.sparsity.select import random_scores


@register("set")
class SET(DynamicSparse):
    """Drop the smallest weights, grow others at random, now and then in training."""

    paper = "SET (Nature Communications 2018)"

    @dataclass(frozen=True)
    class Hyper(DynamicSparse.Hyper):
        """Updates follow the gradient step, as in RigL's code."""

        update: Literal["extra", "skip", "after"] = "after"

    def growth(self, step: int, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Noise, from a stream of the step's own: the same on every rank, and after a resumption.

        The original drops the weights closest to 0 among the positive and among the negative ones
        apart; RigL's authors and we by magnitude alone.
        """
        return random_scores(self.network, self.context.rng.generator(f"growth/{step}"))
