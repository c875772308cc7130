"""SNFS: sparse networks from scratch (arXiv:1907.04840), as RigL's paper runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pai_bench import DynamicSparse, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.sparsity.regrow import shared_out
from pai_bench.training.length import TrainingLength


@register("snfs")
class SNFS(DynamicSparse):
    """Drop the smallest weights, grow those with the largest average gradient."""

    paper = "arXiv:1907.04840"

    @dataclass(frozen=True)
    class Hyper(DynamicSparse.Hyper):
        """Updates follow the gradient step, as in RigL's code."""

        update: Literal["skip", "after"] = "after"
        decay: float = 0.9
        """Decay of the moving average of dense gradients, which starts from 0 and is updated in
        every step."""
        redistribute: bool = False
        """True: grow more weights in layers whose kept weights have a larger mean |average|, as
        the original does. False: the density of each layer stays the same, as in RigL's code."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.decay < 1:
                raise BenchError(f"decay must be at least 0 and below 1, got {self.decay}")

    average: dict[str, Tensor]
    """Moving average of the dense gradients, by weight name."""

    def on_fit_start(self) -> None:
        """Start the average from 0, or from that of a checkpoint."""
        loaded = getattr(self, "average", {})
        self.average = {
            name: loaded[name].to(weight.device) if name in loaded else torch.zeros_like(weight)
            for name, weight in prunable(self.network)
        }

    def on_dense_gradients(self) -> None:
        """Update the average by the dense gradients, before they are masked."""
        gradients, average = list(self.dense_gradients().values()), list(self.average.values())
        self.count_dense_gradient(self._images)
        torch._foreach_mul_(average, self.hyper.decay)
        torch._foreach_add_(average, gradients, alpha=1 - self.hyper.decay)
        super().on_dense_gradients()

    def growth(self, step: int, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Score by |average|, the moving average of the dense gradients."""
        return {name: average.abs() for name, average in self.average.items()}

    def counts(self, fraction: float) -> dict[str, tuple[int, int]]:
        """Grow as many weights as are dropped: in each layer, or over all layers."""
        counts = super().counts(fraction)
        if not self.hyper.redistribute:
            return counts
        free = {n: int((~mask).sum()) + counts[n][0] for n, mask in self.masks.items()}
        weights = {n: float(self.average[n][mask].abs().mean()) for n, mask in self.masks.items()}
        grown = shared_out(sum(drop for drop, _ in counts.values()), weights, free)
        return {name: (drop, grown[name]) for name, (drop, _) in counts.items()}

    @property
    def moves_density(self) -> bool:
        """Whether density moves between layers: `redistribute`."""
        return bool(self.hyper.redistribute)

    def count_training(self, length: TrainingLength) -> None:
        """Count the steps, each with a dense gradient, for the average.

        Args:
            length: Steps, and images of each batch.

        Raises:
            BenchError: Density moves between layers.
        """
        super().count_training(length)
        for step in range(length.steps):
            self.training_cost.count(0, dense=length.batch(step))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the average, too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["average"] = dict(self.average)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the average, too."""
        super().on_load_checkpoint(checkpoint)
        self.average = checkpoint["average"]
