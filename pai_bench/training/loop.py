"""A plain training loop, for methods that train before they prune."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pai_bench.config.schema import Recipe
from pai_bench.core import distributed
from pai_bench.core.nested import map_tensors
from pai_bench.sparsity.account import macs_of_one
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.training.optimizer import build_optimizer, build_schedule, clip_gradients


class Passes(Iterable[tuple[Tensor, Any]], Sized, Protocol):
    """Batches of (images, labels); each iteration is one epoch."""


@dataclass(frozen=True)
class Effort:
    """Cost of a training."""

    steps: int
    images: int
    """Passed in all steps."""
    flops: float
    """Of the dense network: 2 per multiply-accumulate forward, and twice that backward."""


def train(
    network: nn.Module,
    masks: Masks,
    recipe: Recipe,
    batches: Passes,
    after_step: Callable[[int], None] = lambda _step: None,
    by: torch.optim.Optimizer | None = None,
    loss: Callable[..., Tensor] = cross_entropy,
    before_step: Callable[[int], Masks | None] = lambda _step: None,
) -> Effort:
    """Train the masked `network` in place, with the same steps as the training of a cell.

    Several ranks train it together, each on its part of every batch.

    Args:
        network: On the device of the batches; left in training mode.
        masks: Weights that are not kept are set to 0 and stay 0.
        recipe: Epochs or steps, optimizer, schedule, clipping and label smoothing.
        batches: (images, labels), shaped (N, C, H, W) and (N,), or what `pai_bench.prune` takes; an
            iteration is an epoch.
        after_step: Callback after each step, with the number of steps taken so far.
        by: Optimizer of the network's parameters to use instead of the recipe's.
        loss: Of outputs, labels and `label_smoothing`.
        before_step: Callback before each step, with the same number. What it returns are the masks
            from then on.

    Returns:
        Number of steps, of images, and FLOPs.
    """
    network.train()
    optimizer = build_optimizer(network, recipe) if by is None else by
    schedule = build_schedule(optimizer, recipe, len(batches))
    weights = prunable(network)
    factors = _apply(masks, network)
    step = seen = macs = 0
    for _ in range(recipe.epochs):
        for images, labels in batches:
            if step == recipe.steps:
                break
            if (moved := before_step(step)) is not None:
                factors = _apply(moved, network)
            optimizer.zero_grad()
            inputs = map_tensors(images, partial(_as_real, dtype=weights[0][1].dtype))
            macs = macs or macs_of_one(network, inputs)
            objective = loss(network(inputs), labels, label_smoothing=recipe.label_smoothing)
            distributed.weighted(objective, len(labels), len(labels)).backward()
            distributed.average_gradients(network)
            _mask([weight for _, weight in weights], factors)
            clip_gradients(network, recipe)
            optimizer.step()
            step, seen = step + 1, seen + len(labels)
            after_step(step)
            if schedule["interval"] == "step":
                schedule["scheduler"].step()
        if schedule["interval"] == "epoch":
            schedule["scheduler"].step()
    images_seen = int(distributed.total(seen))
    return Effort(step, images_seen, 6.0 * images_seen * macs)


def _as_real(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in the dtype of the weights; integers, such as symbols, stay."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _apply(masks: Masks, network: nn.Module) -> list[Tensor]:
    """Set the weights that are not kept to 0; return the masks as factors of gradients."""
    masks.apply(network)
    return [masks[name].to(weight.dtype) for name, weight in prunable(network)]


def _mask(weights: list[Tensor], factors: list[Tensor]) -> None:
    pairs = [(w.grad, f) for w, f in zip(weights, factors, strict=True) if w.grad is not None]
    torch._foreach_mul_([grad for grad, _ in pairs], [factor for _, factor in pairs])
