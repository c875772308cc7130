"""Gradual magnitude pruning (Zhu and Gupta, arXiv:1710.01878), as RigL's paper runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pai_bench import prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.methods.moving_masks import MovingMasks
from pai_bench.sparsity.select import topk_masks
from pai_bench.training.length import TrainingLength


@register("gradual")
class Gradual(MovingMasks):
    """Start dense, and prune the smallest weights step by step during training."""

    paper = "arXiv:1710.01878"

    @dataclass(frozen=True)
    class Hyper:
        """When and how weights are pruned; defaults are those of RigL's paper."""

        begin: float = 0.25
        """Begin of pruning, as a fraction of all training steps."""
        end: float = 0.75
        """End of pruning, as a fraction of all training steps."""
        frequency: int = 100
        """Steps between prunings; the last pruning is at `end` in any case."""
        scope: Literal["global", "local", "er", "erk", "rigl-mnist"] = "local"
        """Within each layer, all at the same density, as in RigL's code."""
        selection: Literal["exact", "histogram"] = "exact"
        """`histogram` is the rule of TensorFlow's library: a threshold at one of 256 bins."""
        pruned: Literal["zero", "remembered"] = "zero"
        """Value of pruned weights in later rankings. `zero`: 0, so they stay pruned. `remembered`:
        the last value before pruning, with which they return if others have become smaller. That
        can happen in TensorFlow's library too, where momentum and L2 still change the value."""

        def __post_init__(self) -> None:
            if not 0 <= self.begin < self.end <= 1:
                raise BenchError(
                    f"begin and end must be fractions of the training, 0 <= begin < end <= 1; got "
                    f"{self.begin} and {self.end}"
                )
            if self.frequency < 1:
                raise BenchError(f"frequency must be at least 1 step, got {self.frequency}")

    remembered: dict[str, Tensor]
    """Weight name -> last values of pruned weights, 0 for the others."""

    def on_fit_start(self) -> None:
        """Start with no remembered values, or with those of a checkpoint."""
        values = getattr(self, "remembered", {})
        self.remembered = {name: values[name].to(self.device) for name in values}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take the step, and prune after it."""
        super().optimizer_step(*args, **kwargs)
        step = self.trainer.global_step + 1  # The Trainer counts the step after this hook.
        if self._due(step, self.total_steps):
            self._prune(self.progress(step, self.total_steps))

    def progress(self, step: int, total_steps: int) -> float:
        """Fraction of the final sparsity that is reached after `step` steps: the cubic schedule.

        s(t) = s_final (1 - (1 - p)^3), with p the fraction of the steps from `begin` to `end`
        (Zhu and Gupta, equation 1).

        Args:
            step: Optimizer steps so far.
            total_steps: Those of the whole training.

        Returns:
            The fraction, from 0 to 1.
        """
        begin, end = self._range(total_steps)
        fraction = min(1.0, max(0.0, (step - begin) / (end - begin)))
        return float(1 - (1 - fraction) ** 3)

    def _range(self, total_steps: int) -> tuple[int, int]:
        fractions = self.hyper.begin, self.hyper.end
        begin, end = (round(fraction * total_steps) for fraction in fractions)
        return begin, max(begin + 1, end)

    def _due(self, step: int, total_steps: int) -> bool:
        begin, end = self._range(total_steps)
        return begin < step <= end and ((step - begin) % self.hyper.frequency == 0 or step == end)

    def count_training(self, length: TrainingLength) -> None:
        """Count each step by the masks that it has, of which only the numbers by layer matter.

        Args:
            length: Steps, and images of each batch.

        Raises:
            BenchError: The weights decide how many are kept in each layer.
        """
        if self.hyper.scope == "global" or self.hyper.selection != "exact":
            raise BenchError(f"{self.name} keeps as many weights in a layer as its values say")
        scores = {name: weight.detach().abs() for name, weight in prunable(self.network)}
        for step in range(length.steps):
            self.training_cost.count(length.batch(step))
            if self._due(step + 1, length.steps):
                density, scope = self.context.density, self.hyper.scope
                progress = self.progress(step + 1, length.steps)
                self.set_masks(topk_masks(scores, density, scope=scope, progress=progress))

    def _prune(self, progress: float) -> None:
        """Prune by magnitude; weights that return get their remembered values."""
        hyper, weights = self.hyper, dict(prunable(self.network))
        values = {name: weight.detach().clone() for name, weight in weights.items()}
        for name, last in self.remembered.items():
            values[name] += last
        masks = topk_masks(
            {name: value.abs() for name, value in values.items()},
            self.context.density,
            scope=hyper.scope,
            rule=hyper.selection,
            alive=self.masks,
            progress=progress,
        )
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(values[name])
        self.change_masks(masks)
        if hyper.pruned == "remembered":
            self.remembered = {n: v.masked_fill(self.masks[n], 0) for n, v in values.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the remembered values, too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["remembered"] = dict(self.remembered)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the remembered values, too."""
        super().on_load_checkpoint(checkpoint)
        self.remembered = checkpoint["remembered"]
