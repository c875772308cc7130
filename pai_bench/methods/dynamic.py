"""Base class of methods that train sparse from the first step, and move weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pai_bench.core import distributed
from pai_bench.core.errors import BenchError
from pai_bench.core.xla import mark_step
from pai_bench.methods.moving_masks import MovingMasks, moved
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.regrow import Schedule, moved_count
from pai_bench.sparsity.select import random_scores, topk_masks
from pai_bench.training.context import MethodContext
from pai_bench.training.length import TrainingLength
from pai_bench.training.restricted_batches import Batches


class DynamicSparse(MovingMasks):
    """Train sparse from the first step; drop the smallest weights at intervals, and grow others.

    A method overrides `growth`, the score by which weights are grown. The rest is as in RigL (Evci
    et al., ICML 2020, section 3), whose paper compares methods in this way.
    """

    @dataclass(frozen=True)
    class Hyper:
        """Mask updates; defaults are RigL's, for all dynamic methods alike."""

        scope: Literal["global", "local", "er", "erk", "rigl-mnist"] = "erk"
        """Densities of the layers, of the random initial masks and all later ones."""
        alpha: float = 0.3
        """Fraction of the kept weights that the first update replaces."""
        delta_t: int = 100
        """Steps between updates."""
        end: float = 0.75
        """Last update, as a fraction of all training steps: it scales with the length of the
        training, `delta_t` does not."""
        anneal: Literal["cosine", "constant", "power"] = "cosine"
        """Decay of the replaced fraction from `alpha` on."""
        power: float = 1.0
        """Exponent of `anneal=power`: alpha (1 - t / end)^power."""
        update: Literal["extra", "skip", "after"] = "extra"
        """When masks are updated. `extra`: before the optimizer step, by the gradient of an extra
        batch (RigL's code). `skip`: instead of the optimizer step (RigL's algorithm 1). `after`:
        after the step, first after step 1, by the gradient of that step (SET and SNFS in RigL's
        code)."""

        def __post_init__(self) -> None:
            if not 0 < self.alpha < 1 or not 0 < self.end <= 1:
                raise BenchError(
                    "alpha must lie between 0 and 1, end be above 0 and at most 1; got "
                    f"{self.alpha} and {self.end}"
                )
            if self.delta_t < 1:
                raise BenchError(f"delta_t must be at least 1 step, got {self.delta_t}")

    looks_at_gradients: ClassVar[bool] = False
    """True: `growth` gets the dense gradients of the update; False: an empty mapping."""

    def __init__(self, network: nn.Module, context: MethodContext, **hyper: Any) -> None:
        super().__init__(network, context, **hyper)
        self._gradients: dict[str, Tensor] = {}
        self._images = 0

    def growth(self, step: int, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Score each prunable weight; of the weights that are not kept, the highest are grown.

        Called at each update; no update happens if a score is not finite. `self.masks` holds the
        masks before the update.

        Args:
            step: Number of optimizer steps taken so far.
            gradients: Weight name -> dense gradient of the loss, without weight decay, averaged
                over ranks; empty unless the class declares `looks_at_gradients`.

        Returns:
            Weight name -> scores of the weight's shape, on its device.
        """
        raise NotImplementedError(f"{type(self).__name__} must define growth()")

    def counts(self, fraction: float) -> dict[str, tuple[int, int]]:
        """Return how many weights of each layer an update drops and grows: equally many.

        A method may override it to move density between layers; the sums must stay equal.

        Args:
            fraction: Fraction of the kept weights of each layer to replace, in [0, 1).

        Returns:
            Weight name -> (dropped, grown).
        """
        kept = self.masks.kept_by_layer()
        replaced = {name: moved_count(count, fraction) for name, count in kept.items()}
        return {name: (count, count) for name, count in replaced.items()}

    @property
    def moves_density(self) -> bool:
        """Whether `counts` moves density between layers, by what has been trained."""
        return type(self).counts is not DynamicSparse.counts

    def sparsify(self, batches: Batches) -> Masks:
        """Choose random initial masks by `scope`; the same as those of the method `random`.

        Args:
            batches: Not used.

        Returns:
            One bool tensor per prunable weight, drawn from the stream `mask`.
        """
        scores = random_scores(self.network, self.context.rng.generator("mask"))
        return topk_masks(scores, self.context.density, scope=self.hyper.scope)

    @property
    def schedule(self) -> Schedule:
        """When masks are updated, and which fraction of the kept weights is replaced."""
        return self.schedule_of(self.total_steps)

    def schedule_of(self, total_steps: int) -> Schedule:
        """Return the schedule of a training.

        Args:
            total_steps: Its optimizer steps.

        Returns:
            When masks are updated, and which fraction of the kept weights is replaced.
        """
        hyper = self.hyper
        end = max(1, round(hyper.end * total_steps))
        return Schedule(hyper.alpha, hyper.delta_t, end, hyper.anneal, hyper.power)

    def count_training(self, length: TrainingLength) -> None:
        """Count the steps, and the dense gradients and extra batches of all updates.

        Updates replace as many weights as they drop, so FLOPs stay as they are.

        Args:
            length: Steps, and images of each batch.

        Raises:
            BenchError: The method moves density between layers, by what it has trained.
        """
        if self.moves_density:
            raise BenchError(f"{self.name} moves density between layers by what it has trained")
        schedule, after = self.schedule_of(length.steps), self.hyper.update == "after"
        for step in range(length.steps):
            images = length.batch(step)
            self.training_cost.count(images)
            due = schedule.due(step + 1, first=1) if after else schedule.due(step)
            if not (due and self.looks_at_gradients):
                continue
            if self.hyper.update == "extra":
                images = length.batch(step // self.hyper.delta_t)
                self.training_cost.count(images)
            self.training_cost.count(0, dense=images)

    def update_masks(self, step: int, gradients: Mapping[str, Tensor]) -> None:
        """Drop and grow weights in each layer; skip the update if a score is not finite.

        Args:
            step: Number of optimizer steps taken so far.
            gradients: Passed on to `growth`.
        """
        scores = self.growth(step, gradients)
        mark_step(self.device)  # What reads of unfinished scores, computes them once more.
        if not bool(torch.stack([score.sum() for score in scores.values()]).isfinite().all()):
            return
        counts = self.counts(self.schedule.fraction(step))
        self.change_masks(moved(self.network, self.masks, scores, counts))

    def on_train_batch_start(self, batch: Any, _index: int) -> None:
        """Update the masks before the step, if `update` is `extra`; no step is skipped."""
        step, self._images = self.trainer.global_step, len(batch[1])
        if self.hyper.update == "extra" and self.schedule.due(step):
            gradients = {}
            if self.looks_at_gradients:
                gradients = self.gradients_of_another_batch(step // self.hyper.delta_t)
            self.update_masks(step, gradients)

    def on_dense_gradients(self) -> None:
        """Update instead of the step (`skip`), or store gradients for the update after it."""
        step, update = self.trainer.global_step, self.hyper.update
        if update == "skip" and self.schedule.due(step):
            self.update_masks(step, self._gradients_of_the_step())
            for parameter in self.network.parameters():
                parameter.grad = None  # The optimizer skips it: no momentum, no weight decay.
        if update == "after" and self.schedule.due(step + 1, first=1):
            self._gradients = {n: g.clone() for n, g in self._gradients_of_the_step().items()}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take the step, and update after it (`after`), before a checkpoint can be saved."""
        super().optimizer_step(*args, **kwargs)
        step = self.trainer.global_step + 1  # The Trainer counts the step after this hook.
        if self.hyper.update == "after" and self.schedule.due(step, first=1):
            self.update_masks(step, self._gradients)
            self._gradients = {}

    def dense_gradients(self) -> dict[str, Tensor]:
        """Return the dense gradients of the batch, in the hook `on_dense_gradients`.

        Returns:
            Weight name -> gradient of the loss, averaged over ranks; 0 for unused weights. Clone
            what is used later: these tensors are masked for the step.
        """
        weights = prunable(self.network)
        return {n: torch.zeros_like(w) if w.grad is None else w.grad for n, w in weights}

    def _gradients_of_the_step(self) -> dict[str, Tensor]:
        if not self.looks_at_gradients:
            return {}
        self.count_dense_gradient(self._images)
        return self.dense_gradients()

    def gradients_of_another_batch(self, number: int) -> dict[str, Tensor]:
        """Compute the dense gradients of an extra batch, in training mode.

        They depend on the network and `number` alone: dropout draws from a stream of its own.

        Args:
            number: Index of the extra batch, from 0.

        Returns:
            Weight name -> gradient of the loss, averaged over ranks.
        """
        plugin, strategy = self.trainer.precision_plugin, self.trainer.strategy
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        batch = plugin.convert_input(data.extra_batch(number))
        weights = dict(prunable(self.network))
        gradients: tuple[Tensor, ...] = ()
        with self.context.rng.as_global(f"extra/{number}"), plugin.forward_context():
            for piece in self.pieces.of(batch):
                loss = distributed.weighted(self.batch_loss(piece), len(piece[1]), len(batch[1]))
                more = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
                gradients = tuple(map(torch.add, gradients, more)) if gradients else more
        self.training_cost.count(len(batch[1]))
        self.count_dense_gradient(len(batch[1]))
        return {n: strategy.reduce(g) for n, g in zip(weights, gradients, strict=True)}
