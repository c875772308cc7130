"""Choose the masks before the first step."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from pai_bench.core import distributed
from pai_bench.core.errors import BenchError
from pai_bench.networks import differentiable
from pai_bench.networks.batch_norm import normalise_in_parts
from pai_bench.networks.running_variance import track_unbiased
from pai_bench.sparsity.masks import Masks
from pai_bench.sparsity.select import kept_count
from pai_bench.training.sanity_checks import after_selection, corrupted


class Collapsed(RuntimeError):
    """A layer has no weights left, and the recipe skips such networks."""


class MaskSelection(pl.Callback):
    """Lets the method choose its masks, on the Trainer's device and before the first step.

    A training that resumes from a checkpoint takes the masks from there.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Choose the masks, apply them, and start the timer of the training phase.

        Raises:
            Collapsed: A layer has no weights left, and the recipe says `collapsed: skip`.
        """
        if pl_module.device.type == "xla":
            track_unbiased(pl_module.network)
        if pl_module.resumed:
            # The Trainer has moved module and weights to its device since the masks were loaded.
            pl_module.set_masks(pl_module.masks)
            _normalise(pl_module)
        else:
            self._select(trainer, pl_module)
        pl_module.phase_timer.restart(pl_module)

    def _select(self, trainer: pl.Trainer, module: Any) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        with module.phase_timer.phase("score", module), differentiable.on(module.device):
            masks = _of_first(self._masks(module, data), module)
        data.seconds = 0.0  # Loading batches while masks are chosen is part of phase `score`.
        module.set_masks(after_selection(module.context, masks, module.network))
        _check_density(module)
        module.initial_nonzero = module.masks.kept_by_layer()
        if module.masks.collapsed() and module.context.recipe.collapsed == "skip":
            raise Collapsed(f"nothing is kept of {', '.join(module.masks.collapsed())}")

    def _masks(self, module: Any, data: Any) -> Masks:
        masks: Masks
        if module.context.sanity_check == "invert" and module.prunes and not module.ranks_scores:
            raise BenchError(f"{module.name} ranks no scores before training: nothing to invert")
        if module.scores_on_all_ranks:
            _normalise(module)
            masks = module.sparsify(scoring_batches(module, data))
        else:
            with distributed.alone():
                masks = module.sparsify(scoring_batches(module, data))
            _normalise(module)
        return masks


def _check_density(module: Any) -> None:
    """Raise BenchError for masks that are too dense to stand beside others of this density."""
    masks = module.masks
    most = kept_count(masks.total, module.most_density) + len(masks)
    if module.prunes and module.when != "during" and masks.kept > most:
        raise BenchError(
            f"{module.name} keeps {masks.kept:,} of {masks.total:,} weights, more than density "
            f"{module.context.density:.4g} allows ({most - len(masks):,})"
        )


def scoring_batches(module: Any, data: Any) -> Any:
    """Batches for `sparsify`, restricted to what the method declares to need."""
    blank = not (module.needs_data or module.needs_labels)
    batches = data.train_dataloader() if module.trains_to_score else data.score_batches(blank)
    return module.restrict_inputs(corrupted(module.context, batches))


def _normalise(module: Any) -> None:
    """Let batch norm take the statistics that the recipe asks for, if it would take others."""
    parts = module.context.recipe.batch_norm_parts
    if distributed.ranks() > 1 or parts > 1:
        normalise_in_parts(module.network, parts, module.pieces)


def _of_first(masks: Masks, module: Any) -> Masks:
    """Take masks, and weights to start from, from the first rank: rounding may differ elsewhere."""
    if distributed.ranks() == 1:
        return masks
    copies = {name: mask.to(module.device, copy=True) for name, mask in masks.items()}
    distributed.copy_from_first([*copies.values(), *module.network.state_dict().values()])
    return Masks(copies)
