"""A plain training loop, for methods that train before they prune."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
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
from pai_bench.training.restricted_batches import first_of, loader_of, next_epoch, start_epoch
from pai_bench.training.search_checkpoint import SearchCheckpoint


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
    checkpoint: SearchCheckpoint | None = None,
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
        checkpoint: A method's `search_checkpoint`, within its search: the training resumes. What
            the callbacks change is to be added to it too, before.

    Returns:
        Number of steps, of images, and FLOPs.

    Raises:
        OutOfTime: The search is to stop; the checkpoint is written.
    """
    checkpoint = checkpoint or SearchCheckpoint()
    training = _Training(network, masks, recipe, len(batches), by, loss)
    checkpoint.add("training", training)
    checkpoint.add("batches", loader_of(batches))
    while training.epoch < recipe.epochs:
        for number, (images, labels) in enumerate(batches, first_of(batches) + 1):
            if training.steps == recipe.steps:
                break
            training.move(before_step(training.steps))
            training.step(images, labels)
            after_step(training.steps)
            training.decay("step")
            if number < len(batches):
                checkpoint.update()
        training.decay("epoch")
        training.epoch += 1
        checkpoint.update()
    # `steps` may end within a pass, and a training that is resumed at its end does not begin one.
    start_epoch(batches, next_epoch(batches))
    return training.effort()


class _Training:
    """A training on its way."""

    def __init__(
        self,
        network: nn.Module,
        masks: Masks,
        recipe: Recipe,
        batches: int,
        by: torch.optim.Optimizer | None,
        loss: Callable[..., Tensor],
    ) -> None:
        self._network, self._recipe, self._loss = network.train(), recipe, loss
        self._optimizer = build_optimizer(network, recipe) if by is None else by
        self._schedule = build_schedule(self._optimizer, recipe, batches)
        self._weights = [weight for _, weight in prunable(network)]
        self.epoch = self.steps = 0
        """Finished ones."""
        self._images = self._macs = 0
        self.move(masks)

    def move(self, masks: Masks | None) -> None:
        """Go on with other masks, if there are any."""
        if masks is not None:
            self._masks = masks
            masks.apply(self._network)
            named = prunable(self._network)
            self._factors = [masks[name].to(weight.dtype) for name, weight in named]

    def step(self, images: Any, labels: Any) -> None:
        """Do one step on a batch."""
        network, recipe = self._network, self._recipe
        self._optimizer.zero_grad()
        inputs = map_tensors(images, partial(_as_real, dtype=self._weights[0].dtype))
        self._macs = self._macs or macs_of_one(network, inputs)
        objective = self._loss(network(inputs), labels, label_smoothing=recipe.label_smoothing)
        distributed.weighted(objective, len(labels), len(labels)).backward()
        distributed.average_gradients(network)
        _mask(self._weights, self._factors)
        clip_gradients(network, recipe)
        self._optimizer.step()
        self.steps, self._images = self.steps + 1, self._images + len(labels)

    def decay(self, interval: str) -> None:
        """Change the learning rate, after each `interval` of the schedule."""
        if self._schedule["interval"] == interval:
            self._schedule["scheduler"].step()

    def effort(self) -> Effort:
        """What the training took, on all ranks."""
        images = int(distributed.total(self._images))
        return Effort(self.steps, images, 6.0 * images * self._macs)

    def state_dict(self) -> dict[str, Any]:
        """All that steps change, for a checkpoint."""
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._schedule["scheduler"].state_dict(),
            "masks": dict(self._masks),
            "counts": [self.epoch, self.steps, self._images, self._macs],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        device = self._weights[0].device
        self.move(Masks({name: mask.to(device) for name, mask in state["masks"].items()}))
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule["scheduler"].load_state_dict(state["scheduler"])
        self.epoch, self.steps, self._images, self._macs = state["counts"]


def _as_real(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in the dtype of the weights; integers, such as symbols, stay."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _mask(weights: list[Tensor], factors: list[Tensor]) -> None:
    pairs = [(w.grad, f) for w, f in zip(weights, factors, strict=True) if w.grad is not None]
    torch._foreach_mul_([grad for grad, _ in pairs], [factor for _, factor in pairs])
