"""Running variances as PyTorch has them, on XLA devices.

PyTorch's batch norm tracks the unbiased variance of a batch, of n values a channel; torch_xla 2.9
tracks the biased one, which is smaller by (n - 1) / n.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def track_unbiased(network: nn.Module) -> None:
    """Let the batch norms of a network on an XLA device track what PyTorch's do; once is enough."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and _remember not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_remember)
            module.register_forward_hook(_correct)


def _remember(norm: Any, _inputs: tuple[Tensor]) -> None:
    if norm.training and norm.running_var is not None:
        norm.variance_before = norm.running_var.clone()


@torch.no_grad()
def _correct(norm: Any, inputs: tuple[Tensor], _outputs: Tensor) -> None:
    if norm.training and norm.running_var is not None:
        values = inputs[0].numel() // inputs[0].shape[1]
        factor = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
        of_batch = norm.running_var - (1 - factor) * norm.variance_before
        # `data`: the backward pass may have saved it, and does not use it.
        norm.running_var.data.add_(of_batch / (values - 1))
        del norm.variance_before
