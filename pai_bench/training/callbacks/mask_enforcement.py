"""Keep masked weights exactly 0 while the optimizer steps."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pai_bench.sparsity.masks import Masks, prunable


class MaskEnforcement(pl.Callback):
    """Masks the gradients before each optimizer step.

    Weights are multiplied by the masks once, when the masks are set; with gradients 0, momentum and
    weight decay keep them 0. So the state_dict is that of the plain network, and methods can use
    the dense gradients: their hook is called before the gradients are masked.
    """

    def __init__(self) -> None:
        self._weights: list[Tensor] = []
        self._factors: list[Tensor] = []

    def use(self, masks: Masks, network: nn.Module) -> None:
        """Set the masks: apply them to the weights of `network` now, to gradients in each step."""
        masks.apply(network)
        weights = dict(prunable(network))
        self._weights = list(weights.values())
        self._factors = [masks[name].to(weight.dtype) for name, weight in weights.items()]

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: Any, optimizer: torch.optim.Optimizer
    ) -> None:
        """Call the method's hook with dense gradients in place, then mask them."""
        pl_module.on_dense_gradients()
        if pl_module.prunes:
            self.mask_gradients()

    def mask_gradients(self) -> None:
        """Multiply the gradients of all weights by the masks."""
        weights = zip(self._weights, self._factors, strict=True)
        pairs = [(w.grad, factor) for w, factor in weights if w.grad is not None]
        if pairs:  # A method that skips the step sets gradients to None.
            torch._foreach_mul_([grad for grad, _ in pairs], [factor for _, factor in pairs])
