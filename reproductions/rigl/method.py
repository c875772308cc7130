"""RigL: rigging the lottery, making all tickets winners (ICML 2020)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pai_bench import DynamicSparse, register


@register("rigl")
class RigL(DynamicSparse):
    """Drop the smallest weights, grow those with the largest gradient, at intervals in training."""

    paper = "rigl"
    looks_at_gradients = True

    def growth(self, step: int, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """|dL/dw| of one batch, not accumulated over batches (paper, algorithm 1)."""
        return {name: gradient.abs() for name, gradient in gradients.items()}
