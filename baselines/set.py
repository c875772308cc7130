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
    """Drop the smallest weights and grow others at random, at intervals in training."""

    paper = "SET (Nature Communications 2018)"

    @dataclass(frozen=True)
    class Hyper(DynamicSparse.Hyper):
        """Updates follow the gradient step, as in RigL's code."""

        update: Literal["extra", "skip", "after"] = "after"

    def growth(self, step: int, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Noise from a stream of its own for each step: equal on every rank, and after resuming.

        The original drops the weights closest to 0 separately among positive and negative ones;
        RigL's code and this one rank by magnitude alone.
        """
        return random_scores(self.network, self.context.rng.generator(f"growth/{step}"))
