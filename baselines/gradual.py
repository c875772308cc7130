"""Gradual magnitude pruning (Zhu and Gupta, arXiv:1710.01878), as RigL's paper runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pai_bench import prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.methods.dynamic import MovingMasks
from pai_bench.sparsity.select import topk_masks


@register("gradual")
class Gradual(MovingMasks):
    """Start dense, and prune the smallest weights little by little while training."""

    paper = "arXiv:1710.01878"

    @dataclass(frozen=True)
    class Hyper:
        """Of all training steps, pruning takes the part from `begin` to `end`."""

        begin: float = 0.25
        end: float = 0.75
        frequency: int = 100
        """Steps from one pruning to the next; the last one is at `end` in any case."""
        scope: Literal["global", "local", "er", "erk", "rigl-mnist"] = "local"
        """Within each layer, all at the same density, as in RigL's code."""
        selection: Literal["exact", "histogram"] = "exact"
        """`histogram` is the rule of TensorFlow's library: a threshold at one of 256 bins."""
        pruned: Literal["zero", "remembered"] = "zero"
        """What becomes of a pruned weight. `zero`: it is 0 from then on, as everywhere in this
        benchmark, and gone for good. `remembered`: it is ranked by the value that it was pruned
        with, and returns with it where others have become smaller: in TensorFlow's library that
        can happen, but there momentum and L2 go on moving what is pruned."""

        def __post_init__(self) -> None:
            if not 0 <= self.begin < self.end <= 1:
                raise BenchError(
                    f"begin and end must be parts of the training, begin first; got {self.begin} "
                    f"and {self.end}"
                )
            if self.frequency < 1:
                raise BenchError(f"frequency must be at least 1 step, got {self.frequency}")

    remembered: dict[str, Tensor]
    """Last values of pruned weights, 0 for the others; by weight name."""

    def on_fit_start(self) -> None:
        """Remember nothing yet, unless a checkpoint brought it."""
        found = getattr(self, "remembered", {})
        self.remembered = {name: found[name].to(self.device) for name in found}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take the step, and prune after it."""
        super().optimizer_step(*args, **kwargs)
        step = self.trainer.global_step + 1  # Counted once this hook is over.
        if self._due(step):
            self._prune(self.progress(step))

    def progress(self, step: int) -> float:
        """How far the sparsities are on their way after `step` steps: fast at first, then slowly.

        s(t) = s_final (1 - (1 - p)^3), p the part of the pruning's time that is over.
        """
        begin, end = self._range
        over = min(1.0, max(0.0, (step - begin) / (end - begin)))
        return float(1 - (1 - over) ** 3)

    @property
    def _range(self) -> tuple[int, int]:
        begin, end = (round(part * self.total_steps) for part in (self.hyper.begin, self.hyper.end))
        return begin, max(begin + 1, end)

    def _due(self, step: int) -> bool:
        begin, end = self._range
        return begin < step <= end and ((step - begin) % self.hyper.frequency == 0 or step == end)

    def _prune(self, progress: float) -> None:
        """Prune by magnitude; weights that return do so as they were."""
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
        """Put what is remembered into a checkpoint, too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["remembered"] = dict(self.remembered)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it out."""
        super().on_load_checkpoint(checkpoint)
        self.remembered = checkpoint["remembered"]
