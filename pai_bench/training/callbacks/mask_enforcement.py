"""Masked weights stay exactly 0 while the optimizer steps."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pai_bench.sparsity.masks import Masks, prunable


class MaskEnforcement(pl.Callback):
    """Takes masked weights out of the gradient before each optimizer step.

    Weights are multiplied by the masks once, when these are set; with their gradients 0, momentum
    and weight decay keep them 0. So the state_dict is that of the plain network, and the dense
    gradient is there for methods that look at it: they are called first.
    """

    def __init__(self) -> None:
        self._weights: list[Tensor] = []
        self._factors: list[Tensor] = []

    def use(self, masks: Masks, network: nn.Module) -> None:
        """Multiply the weights of `network` by `masks`, and their gradients from now on."""
        masks.apply(network)
        weights = dict(prunable(network))
        self._weights = list(weights.values())
        self._factors = [masks[name].to(weight.dtype) for name, weight in weights.items()]

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: Any, optimizer: torch.optim.Optimizer
    ) -> None:
        """Show the method its dense gradients, then mask them."""
        pl_module.on_dense_gradients()
        if pl_module.prunes:
            self.mask_gradients()

    def mask_gradients(self) -> None:
        """Multiply the gradients of all weights that have one by the masks."""
        pairs = zip(self._weights, self._factors, strict=True)
        live = [(w.grad, factor) for w, factor in pairs if w.grad is not None]
        if live:  # A method that skips the step leaves no gradient.
            torch._foreach_mul_([grad for grad, _ in live], [factor for _, factor in live])
