"""Masks of K networks as one product per layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pai_bench.sparsity.masks import prunable
from pai_bench.training.module import SparseClassifier
from pai_bench.training.stacked.network import StackedNetwork


class StackedMasks:
    """Masks the gradients of a stack, with the masks that its methods have at that time.

    Args:
        modules: The methods.
        stacked: Their networks.
    """

    def __init__(self, modules: Sequence[SparseClassifier], stacked: StackedNetwork) -> None:
        self._modules = modules
        names = [name for name, _ in prunable(modules[0].network)]
        self._weights: list[Tensor] = [stacked.module.get_parameter(name) for name in names]
        self._factors = [torch.ones_like(weight) for weight in self._weights]
        self._copied: list[object] = [None] * len(modules)

    def mask_gradients(self) -> None:
        """Multiply the gradients of all weights by the masks."""
        self._update()
        pairs = [(w.grad, f) for w, f in zip(self._weights, self._factors, strict=True)
                 if w.grad is not None]  # fmt: skip
        if pairs:
            torch._foreach_mul_([grad for grad, _ in pairs], [factor for _, factor in pairs])

    def _update(self) -> None:
        """Copy the masks of methods that have set others since the last step."""
        for index, module in enumerate(self._modules):
            masks = module.masks
            if masks is self._copied[index] or not module.prunes:
                continue
            self._copied[index] = masks
            for factor, mask in zip(self._factors, masks.values(), strict=True):
                factor[index] = mask
