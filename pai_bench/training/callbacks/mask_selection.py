"""The choice of masks, before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from pai_bench.training.sanity_checks import after_selection, corrupted

if TYPE_CHECKING:
    from pai_bench.training.module import SparseClassifier


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
        module: SparseClassifier = pl_module
        if module.resumed:
            module.set_masks(module.masks)  # A checkpoint brought them; what they act on has moved.
        else:
            self._select(trainer, module)
        module.phase_timer.restart(module)

    def _select(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        with module.phase_timer.phase("score", module):
            masks = module.sparsify(self._batches(module, data))
        data.seconds = 0.0  # Batches of a search are part of its own time.
        module.set_masks(after_selection(module.context, masks, module.network))
        module.initial_nonzero = module.masks.kept_by_layer()
        if module.masks.collapsed() and module.context.recipe.collapsed == "skip":
            raise Collapsed(f"nothing is kept of {', '.join(module.masks.collapsed())}")

    def _batches(self, module: SparseClassifier, data: Any) -> Any:
        """What the method may look at while it chooses the masks."""
        blank = not (module.needs_data or module.needs_labels)
        batches = data.train_dataloader() if module.trains_to_score else data.score_batches(blank)
        return module.restrict_inputs(corrupted(module.context, batches))
