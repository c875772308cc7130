"""Accuracy of a network at a moment of its training, beside the evaluation after each epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pai_bench.core import distributed

if TYPE_CHECKING:
    from pai_bench.training.module import SparseClassifier


@torch.no_grad()
def accuracy(module: SparseClassifier, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Part of the images that `module` classifies rightly, in evaluation mode.

    Its mode stays as it was, and no random numbers are drawn. Of several ranks each classifies its
    part of the images.

    Args:
        module: A method, on any device.
        batches: (images, labels), shaped (N, C, H, W) and (N,).
    """
    training, dtype = module.network.training, next(module.network.parameters()).dtype
    module.network.eval()
    right, images = 0.0, 0
    try:
        for number, (inputs, labels) in enumerate(batches):
            batch = inputs.to(module.device, dtype), labels.to(module.device)
            right += float(module.validation_step(batch, number)["correct"].sum())
            images += labels.numel()
    finally:
        module.network.train(training)
    return distributed.total(right) / distributed.total(images)
