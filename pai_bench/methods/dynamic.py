"""Methods whose masks change while the network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.regrow import Schedule, drop_and_grow, moved_count
from pai_bench.sparsity.select import random_scores, topk_masks
from pai_bench.training.context import MethodContext
from pai_bench.training.module import SparseClassifier
from pai_bench.training.restricted_batches import Batches


class MovingMasks(SparseClassifier):
    """A method that changes its masks during training, with `change_masks`.

    What `sparsify` needs is declared, as everywhere: in training, all methods see all data.
    """

    when = "during"
    needs_data = False
    needs_labels = False

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training, by the recipe."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return self.context.recipe.training_steps(data.train_size)

    def change_masks(self, masks: Masks) -> None:
        """Take `masks` from now on, and forget what the optimizer knows of weights that come or go.

        New connections start from weight 0, momentum 0 and second moment 0; what is pruned is 0 in
        all of these and stays there. Weights that are kept, and their state, are not touched.

        Args:
            masks: One bool tensor per prunable weight, True where the weight is kept.

        Raises:
            BenchError: A layer's mask is missing, unknown, or of another shape than its weight.
        """
        before = self.masks
        self.set_masks(masks)
        chosen: Any = self.optimizers(use_pl_optimizer=False)
        for name, weight in prunable(self.network):
            away = ~(before[name] & self.masks[name])
            for slot in chosen.state.get(weight, {}).values():
                if isinstance(slot, Tensor) and slot.shape == weight.shape:
                    slot.masked_fill_(away, 0)


class DynamicSparse(MovingMasks):
    """Sparse from the first step on: now and then the smallest weights make room for others.

    A method overrides `growth`, the score by which weights are grown, and sets `looks_at_gradients`
    where that needs them. All else is RigL's (Evci et al., ICML 2020, section 3 and algorithm 1),
    whose paper compares methods in this way: weights of least magnitude are dropped, as many are
    grown, every `delta_t` steps until `end`, fewer and fewer of them.
    """

    @dataclass(frozen=True)
    class Hyper:
        """The paper's values, for all dynamic methods alike."""

        scope: Literal["global", "local", "er", "erk", "rigl-mnist"] = "erk"
        """Of the random masks at the start: how dense each layer is, and remains."""
        alpha: float = 0.3
        """Part of the kept weights that moves in the first update."""
        delta_t: int = 100
        """Steps from update to update."""
        end: float = 0.75
        """Of all training steps: no update comes later. Longer trainings move it, not `delta_t`."""
        anneal: Literal["cosine", "constant", "power"] = "cosine"
        power: float = 1.0
        """Of `power`: alpha (1 - t / end)^power."""
        update: Literal["extra", "skip", "after"] = "extra"
        """What becomes of the gradient step. `extra`: none is lost, the update comes before it and
        takes a batch of its own (RigL's code). `skip`: the step of that iteration is lost (RigL's
        algorithm 1). `after`: the update follows the step, first after step 1, and looks at the
        gradient of that step (SET and SNFS in RigL's code)."""

        def __post_init__(self) -> None:
            if not 0 < self.alpha < 1 or not 0 < self.end <= 1:
                raise BenchError(
                    "alpha must lie between 0 and 1, end be above 0 and at most 1; got "
                    f"{self.alpha} and {self.end}"
                )
            if self.delta_t < 1:
                raise BenchError(f"delta_t must be at least 1 step, got {self.delta_t}")

    looks_at_gradients: ClassVar[bool] = False
    """True: `growth` is given the dense gradients at the point of the update."""

    def __init__(self, network: nn.Module, context: MethodContext, **hyper: Any) -> None:
        super().__init__(network, context, **hyper)
        self._gradients: dict[str, Tensor] = {}
        self._images = 0

    def growth(self, step: int, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Score the weights that may be grown; those with high scores are. To be overridden.

        Args:
            step: Optimizer steps so far.
            gradients: Of the loss alone, without L2, for all weights, masked or not: parameter name
                -> tensor of its shape. Empty unless `looks_at_gradients`.

        Returns:
            Parameter name of each prunable weight -> scores of its shape. Those of weights that are
            kept do not matter. Where any is not finite, the update is left out.
        """
        raise NotImplementedError(f"{type(self).__name__} must define growth()")

    def counts(self, fraction: float) -> dict[str, tuple[int, int]]:
        """Say how many weights of each layer are dropped, and how many grown: as many.

        A method may override it to move density between layers; the sums must stay equal.

        Args:
            fraction: Of the kept weights of a layer, that move in this update; from 0 to 1.

        Returns:
            Parameter name -> (weights to drop, weights to grow).
        """
        kept = self.masks.kept_by_layer()
        moved = {name: moved_count(count, fraction) for name, count in kept.items()}
        return {name: (count, count) for name, count in moved.items()}

    def sparsify(self, batches: Batches) -> Masks:
        """Keep weights at random, from the stream `mask`: the same as the method `random`.

        Args:
            batches: Not looked at.

        Returns:
            Masks of the density that is asked for, spread over layers as `scope` says.
        """
        scores = random_scores(self.network, self.context.rng.generator("mask"))
        return topk_masks(scores, self.context.density, scope=self.hyper.scope)

    @property
    def schedule(self) -> Schedule:
        """When there are updates, and how much they move."""
        hyper = self.hyper
        end = max(1, round(hyper.end * self.total_steps))
        return Schedule(hyper.alpha, hyper.delta_t, end, hyper.anneal, hyper.power)

    def update_masks(self, step: int, gradients: Mapping[str, Tensor]) -> None:
        """Drop and grow weights in each layer; nothing happens where a gradient is not finite.

        Args:
            step: Optimizer steps so far; says how many weights move.
            gradients: What `growth` is given.
        """
        scores = self.growth(step, gradients)
        if not bool(torch.stack([score.sum() for score in scores.values()]).isfinite().all()):
            return
        counts = self.counts(self.schedule.fraction(step))
        moved = {
            name: drop_and_grow(weight, self.masks[name], scores[name], *counts[name])
            for name, weight in prunable(self.network)
        }
        self.change_masks(Masks(moved))

    def on_train_batch_start(self, batch: Any, _index: int) -> None:
        """Update before the step, by a batch of its own: no step is lost, and none counted."""
        step, self._images = self.trainer.global_step, len(batch[1])
        if self.hyper.update == "extra" and self.schedule.due(step):
            gradients = {}
            if self.looks_at_gradients:
                gradients = self.gradients_of_another_batch(step // self.hyper.delta_t)
            self.update_masks(step, gradients)

    def on_dense_gradients(self) -> None:
        """Update instead of the step, or keep what the update after it will look at."""
        step, how = self.trainer.global_step, self.hyper.update
        if how == "skip" and self.schedule.due(step):
            self.update_masks(step, self._gradients_of_the_step())
            for parameter in self.network.parameters():
                parameter.grad = None  # Nothing moves: no weight, no momentum, no decay.
        if how == "after" and self.schedule.due(step + 1, first=1):
            self._gradients = {n: g.clone() for n, g in self._gradients_of_the_step().items()}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take the step, and update after it: before anybody can save a checkpoint."""
        super().optimizer_step(*args, **kwargs)
        step = self.trainer.global_step + 1  # Counted once this hook is over.
        if self.hyper.update == "after" and self.schedule.due(step, first=1):
            self.update_masks(step, self._gradients)
            self._gradients = {}

    def dense_gradients(self) -> dict[str, Tensor]:
        """Look at the gradients of the batch, averaged over ranks; later they are masked.

        Returns:
            Parameter name -> tensor of its shape, the gradient itself: clone what is to be kept.
        """
        weights = prunable(self.network)
        return {n: torch.zeros_like(w) if w.grad is None else w.grad for n, w in weights}

    def _gradients_of_the_step(self) -> dict[str, Tensor]:
        if not self.looks_at_gradients:
            return {}
        self.count_dense_gradient(self._images)
        return self.dense_gradients()

    def gradients_of_another_batch(self, number: int) -> dict[str, Tensor]:
        """Compute dense gradients of a batch that is not trained on, in training mode.

        They depend on the network and `number` alone: chance (dropout) has a stream of its own.

        Args:
            number: Of the extra batch, from 0.

        Returns:
            Parameter name -> tensor of its shape, averaged over ranks.
        """
        plugin, strategy = self.trainer.precision_plugin, self.trainer.strategy
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        batch = plugin.convert_input(data.extra_batch(number))
        weights = dict(prunable(self.network))
        with self.context.rng.as_global(f"extra/{number}"), plugin.forward_context():
            loss = self.batch_loss(batch)
            found = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        self.training_cost.count(len(batch[1]))
        self.count_dense_gradient(len(batch[1]))
        return {n: strategy.reduce(g) for n, g in zip(weights, found, strict=True)}
