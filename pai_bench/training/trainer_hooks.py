"""What the Trainer calls of a method, which is the same for all of them."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pai_bench.core import distributed
from pai_bench.sparsity.masks import Masks
from pai_bench.sparsity.training_cost import TrainingCost
from pai_bench.training.callbacks.learning_curves import LearningCurves
from pai_bench.training.callbacks.mask_enforcement import MaskEnforcement
from pai_bench.training.callbacks.mask_selection import MaskSelection
from pai_bench.training.callbacks.phase_timer import PhaseTimer
from pai_bench.training.context import MethodContext
from pai_bench.training.optimizer import build_optimizer, build_schedule, clip_gradients
from pai_bench.training.pieces import Pieces

_RECORDS = (
    "scoring_flops", "reused_seconds", "search_ids", "constant_scores", "measured",
)  # fmt: skip
"""Attributes that become part of the result, and so of every checkpoint."""


class TrainerHooks(pl.LightningModule):
    """A network that is trained by a recipe, step by step, evaluated, saved and restored.

    Attributes are set, and the loss is defined, by `SparseClassifier`.
    """

    network: nn.Module
    context: MethodContext
    masks: Masks
    initial_nonzero: dict[str, int]
    mask_enforcement: MaskEnforcement
    learning_curves: LearningCurves
    phase_timer: PhaseTimer
    training_cost: TrainingCost
    pieces: Pieces
    resumed: bool

    def batch_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Compute the training loss of a batch."""
        raise NotImplementedError

    def set_masks(self, masks: Masks) -> None:
        """Replace the masks of the network."""
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, the name of the current hook without `nn.Module`'s bookkeeping.

        The Trainer sets that name some 40 times a step, which took a tenth of a small network's
        step.
        """
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return the callbacks that the Trainer runs for every method, in this order."""
        return [MaskSelection(), self.mask_enforcement, self.learning_curves, self.phase_timer]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes), sequences to (N, classes, L)."""
        logits: Tensor = self.network(images)
        return logits

    def configure_optimizers(self) -> Any:
        """Build the optimizer and the learning-rate schedule of the recipe."""
        recipe, data = self.context.recipe, self.trainer.datamodule  # type: ignore[attr-defined]
        optimizer = build_optimizer(self.network, recipe)
        steps_per_epoch = math.ceil(data.train_size / recipe.batch_size)
        schedule = build_schedule(optimizer, recipe, steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def configure_gradient_clipping(self, *_args: Any, **_kwargs: Any) -> None:
        """Clip gradients as the recipe says; the Trainer calls this after they are masked."""
        clip_gradients(self.network, self.context.recipe)

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Return the loss of one batch, and count its pass.

        Of several ranks each has a part of the batch; the mean over ranks of what they return is
        the loss of the batch. Where it is passed in pieces, their gradients are there at the end
        but for that of the last one, for which the Trainer runs backwards.
        """
        self.training_cost.count(len(batch[1]))
        if self.pieces.count == 1:
            return distributed.weighted(self.batch_loss(batch), len(batch[1]), len(batch[1]))
        self.network.zero_grad()
        before = loss = torch.zeros((), device=self.device)
        for piece in self.pieces.of(batch):
            if loss.requires_grad:
                loss.backward()
                before = before + loss.detach()
            loss = distributed.weighted(self.batch_loss(piece), len(piece[1]), len(batch[1]))
        return loss + before

    def optimizer_zero_grad(
        self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer
    ) -> None:
        """Drop the gradients of the step before, unless `training_step` has done so."""
        if self.pieces.count == 1:
            optimizer.zero_grad()

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> dict[str, Tensor]:
        """Evaluate one batch of test images: `correct` (N,), 0 or 1 each, and their mean `loss`."""
        images, labels = batch
        logits = self.network(images)
        # A network may have more outputs than the data has classes (NTK-SAP on Tiny-ImageNet).
        correct = (logits.argmax(1) == labels).float()
        return {"correct": correct, "loss": cross_entropy(logits.float(), labels)}

    def collect(self) -> None:
        """Move to the first rank what each has counted by itself, before it is saved."""
        self.training_cost.collect()
        self.learning_curves.collect()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save masks and costs in a checkpoint; callbacks save curves and seconds.

        A method that has more state than weights and optimizer extends this hook and
        `on_load_checkpoint`, and calls super() in both: interrupted trainings resume from it.

        Args:
            checkpoint: The Trainer's dictionary; add tensors and plain data only.
        """
        checkpoint["masks"] = dict(self.masks)
        checkpoint["initial_nonzero"] = dict(self.initial_nonzero)
        checkpoint["training_cost"] = dict(self.training_cost.segments)
        checkpoint["records"] = {name: copy.copy(getattr(self, name)) for name in _RECORDS}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore masks and costs from a checkpoint; masks are not chosen again.

        Args:
            checkpoint: What `on_save_checkpoint` filled.
        """
        self.set_masks(Masks(checkpoint["masks"]))
        self.initial_nonzero = checkpoint["initial_nonzero"]
        self.training_cost.segments = {} if distributed.rank() else checkpoint["training_cost"]
        self.resumed = True
        for name, value in checkpoint["records"].items():
            setattr(self, name, value)
