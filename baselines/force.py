"""FORCE: foresight connection sensitivity, SNIP in rounds with regrowth (ICLR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from baselines.snip import SNIP
from pai_bench.methods.registry import register


@register("force")
class FORCE(SNIP):
    """Keep the largest |dL/dm| of the network pruned so far: pruned weights may return."""

    paper = "Progressive skeletonization (ICLR 2021)"

    @dataclass(frozen=True)
    class Hyper(SNIP.Hyper):
        """The authors' 60 steps, on the exponential schedule."""

        rounds: int = 60
