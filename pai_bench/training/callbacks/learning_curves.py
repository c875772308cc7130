"""Curves by epoch: training loss, test accuracy, test loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torchmetrics import MeanMetric


class Diverged(RuntimeError):
    """A loss is no longer a number."""


class MeanLoss:
    """Mean loss per image, summed where the losses are: no synchronisation until it is read."""

    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self.images = 0

    def add(self, loss: Tensor, images: int) -> None:
        """Count the mean `loss` of a batch of `images`."""
        self._sum = self._sum + loss * images
        self.images += images

    def state_dict(self) -> dict[str, Any]:
        """The sum so far, for a checkpoint in the midst of an epoch."""
        return {"sum": self._sum, "images": self.images}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a sum."""
        self._sum, self.images = state["sum"], state["images"]

    def mean(self) -> float:
        """Loss per image so far."""
        return float(self._sum) / max(1, self.images)


class LearningCurves(pl.Callback):
    """Notes one point of each curve per epoch; a value that is no number ends the training."""

    def __init__(self) -> None:
        self.points: dict[str, list[float]] = {}
        """Curve -> one value per epoch."""
        self._accuracy, self._test_loss = MeanMetric(), MeanMetric()
        self._train_loss = MeanLoss()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Start the epoch's sums."""
        self._train_loss = MeanLoss()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of a batch."""
        self._train_loss.add(outputs["loss"], len(batch[1]))

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Close the training part of the epoch: the Trainer evaluates inside it."""
        self._accuracy.to(pl_module.device)
        self._test_loss.to(pl_module.device)
        if self._train_loss.images:
            self._note("train_loss", self._train_loss.mean(), pl_module)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add what `validation_step` found on a batch: correct images, and mean loss."""
        self._accuracy.update(outputs["correct"])
        self._test_loss.update(outputs["loss"], len(batch[1]))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Note the epoch's test accuracy and loss."""
        self._note("test_accuracy", float(self._accuracy.compute()), pl_module)
        self._note("test_loss", float(self._test_loss.compute()), pl_module)
        self._accuracy.reset()
        self._test_loss.reset()

    def state_dict(self) -> dict[str, Any]:
        """The points so far, and the sums of an epoch in its midst."""
        points = {name: list(curve) for name, curve in self.points.items()}
        return {"points": points, "train_loss": self._train_loss.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from the points of a checkpoint."""
        self.points = {name: list(curve) for name, curve in state_dict["points"].items()}
        self._train_loss.load_state_dict(state_dict["train_loss"])

    def _note(self, curve: str, value: float, module: pl.LightningModule) -> None:
        if not math.isfinite(value):
            name = curve.replace("_", " ")
            raise Diverged(f"the {name} became {value} in epoch {module.current_epoch + 1}")
        self.points.setdefault(curve, []).append(value)
