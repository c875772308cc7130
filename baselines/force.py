"""FORCE: foresight connection sensitivity, SNIP in rounds with regrowth (ICLR 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import nll_loss

from pai_bench import register
from pai_bench.baselines.snip import SNIP


@register("force")
class FORCE(SNIP):
    """Keep the largest |dL/dm| of the network pruned so far: pruned weights may return."""

    paper = "Progressive skeletonization (ICLR 2021)"

    @dataclass(frozen=True)
    class Hyper(SNIP.Hyper):
        """The authors' 60 steps, on the exponential schedule."""

        rounds: int = 60
        objective: Literal["cross-entropy", "nll"] = "cross-entropy"
        """Loss for scoring: that of the paper, or `nll`, which the authors' code computes: minus
        the logit of the label, as their networks have no log-softmax."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over a batch of the cross-entropy, or of minus the logit of the label."""
        if self.hyper.objective == "nll":
            return nll_loss(logits, labels)
        return super().loss(logits, labels)
