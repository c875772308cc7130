"""The recipe's optimizer, with its learning-rate schedule."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pai_bench.config.schema import Recipe
from pai_bench.sparsity.masks import PRUNABLE, prunable
from pai_bench.training.schedule import factor, is_by_step, steps_per_unit


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the optimizer of the recipe for all parameters of `network`."""
    groups = _groups(network, recipe)
    first = next(network.parameters())
    # Fused SGD on the CPU loses its momentum in bfloat16 (torch 2.13), and networks stay untrained.
    fused = first.device.type == "cuda" or (first.device.type, first.dtype) == (
        "cpu",
        torch.float32,
    )
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, recipe.lr, fused=fused)
    return torch.optim.SGD(
        groups, recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused
    )


def _groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameter groups with and without weight decay; an empty one is left out."""
    parameters = list(network.parameters())
    decaying_ids = {id(parameter) for parameter in _decaying(network, recipe)}
    decaying = [p for p in parameters if id(p) in decaying_ids]
    others = [p for p in parameters if id(p) not in decaying_ids]
    groups = [
        {"params": decaying, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _decaying(network: nn.Module, recipe: Recipe) -> list[torch.Tensor]:
    if recipe.decay == "kernels":
        return [module.weight for module in network.modules() if isinstance(module, PRUNABLE)]
    if recipe.decay == "prunable":
        return [weight for _, weight in prunable(network)]
    return list(network.parameters())


def clip_gradients(network: nn.Module, recipe: Recipe) -> None:
    """Clip the gradients of all parameters of `network` as the recipe says."""
    if recipe.clip_at is None:
        return
    if recipe.clip == "norm":
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_at)
    else:
        nn.utils.clip_grad_value_(network.parameters(), recipe.clip_at)


def build_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int
) -> dict[str, Any]:
    """Build the learning-rate schedule of the recipe, as Lightning's `lr_scheduler` dictionary.

    It steps once per epoch, unless the recipe warms up or counts in steps.
    """
    steps = steps_per_unit(recipe, steps_per_epoch)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda count: factor(recipe, count / steps)
    )
    return {"scheduler": scheduler, "interval": "step" if is_by_step(recipe) else "epoch"}
