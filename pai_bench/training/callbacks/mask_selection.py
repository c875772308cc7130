"""The choice of masks, before the first step."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from pai_bench.training.sanity_checks import after_selection, corrupted


class Collapsed(RuntimeError):
    """A mask leaves a layer empty, and the recipe skips such networks."""


class MaskSelection(pl.Callback):
    """Lets the method choose its masks, on the Trainer's device and before the first step.

    A training that a checkpoint resumes has its masks already.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Choose the masks, apply them, and begin the clock of the training.

        Raises:
            Collapsed: Nothing is kept of a layer, and the recipe says `collapsed: skip`.
        """
        if pl_module.resumed:
            # A checkpoint brought the masks, and the weights that they act on have moved since.
            pl_module.set_masks(pl_module.masks)
        else:
            self._select(trainer, pl_module)
        pl_module.phase_timer.restart(pl_module)

    def _select(self, trainer: pl.Trainer, module: Any) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        with module.phase_timer.phase("score", module):
            masks = module.sparsify(self._batches(module, data))
        data.seconds = 0.0  # Batches of a search are part of its own time.
        module.set_masks(after_selection(module.context, masks, module.network))
        module.initial_nonzero = module.masks.kept_by_layer()
        if module.masks.collapsed() and module.context.recipe.collapsed == "skip":
            raise Collapsed(f"nothing is kept of {', '.join(module.masks.collapsed())}")

    def _batches(self, module: Any, data: Any) -> Any:
        """What the method may look at while it chooses the masks."""
        blank = not (module.needs_data or module.needs_labels)
        batches = data.train_dataloader() if module.trains_to_score else data.score_batches(blank)
        return module.restrict_inputs(corrupted(module.context, batches))
