"""Logit-SNIP: SNIP without labels, a baseline of Neural Tangent Transfer (ICML 2020)."""

from __future__ import annotations

from torch import Tensor

from pai_bench import register
from pai_bench.baselines.snip import SNIP


@register("logit-snip")
class LogitSNIP(SNIP):
    """Keep the weights whose removal would change the logits most: |d sum f^2 / dm|."""

    paper = "NTT (ICML 2020)"
    needs_labels = False

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Sum of the squared logits of a batch."""
        return logits.square().sum()
