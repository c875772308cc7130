"""Iterative SNIP: SNIP in many rounds, without regrowth (with FORCE, ICLR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from pai_bench import register
from pai_bench.baselines.snip import SNIP
from pai_bench.training.restricted_batches import Batches


@register("iterative-snip")
class IterativeSNIP(SNIP):
    """Keep the largest |w dL/dw| of the network pruned so far, round after round."""

    paper = "Progressive skeletonization (ICLR 2021)"

    @dataclass(frozen=True)
    class Hyper(SNIP.Hyper):
        """The NTK-SAP paper does not say how many rounds it used; 100 is SynFlow's number."""

        rounds: int = 100

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """SNIP's score where a weight is kept, 0 where it is pruned: no weight returns."""
        return {n: s * self.masks[n] for n, s in super().scores(network, batches).items()}
