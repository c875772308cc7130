"""Learning curves: training loss, test accuracy and test loss of each epoch, and between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, SumMetric

from pai_bench.core import distributed
from pai_bench.core.xla import mark_step
from pai_bench.training.evaluation import accuracy


class Diverged(RuntimeError):
    """A loss is NaN or infinite."""


class MeanLoss:
    """Mean loss per image, summed on the device: no synchronisation until it is read."""

    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self.images = 0

    def add(self, loss: Tensor, images: int) -> None:
        """Add the mean `loss` of a batch of `images` images."""
        self.add_sum(loss * images, images)

    def add_sum(self, loss: Tensor | float, images: int) -> None:
        """Add the sum of the losses of `images` images."""
        self._sum = self._sum + loss
        self.images += images

    def add_part(self, loss: Tensor, images: int) -> None:
        """Add a batch of which this rank has `images`; the mean of `loss` over ranks is its own."""
        if distributed.ranks() == 1:
            return self.add(loss, images)
        loss = loss.to(torch.promote_types(loss.dtype, torch.float32))
        parts = torch.stack([loss / distributed.ranks(), loss.new_tensor(float(images))])
        mean, size = distributed.summed(parts)
        return self.add_sum(mean * size, images)

    def collect(self) -> None:
        """Count the images of all ranks at the first one; each has the whole sum of losses."""
        images = int(distributed.total(self.images))
        self.images = 0 if distributed.rank() else images

    def state_dict(self) -> dict[str, Any]:
        """Return the sum so far, for a checkpoint within an epoch."""
        return {"sum": self._sum, "images": self.images}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the sum of a checkpoint."""
        self._sum, self.images = state["sum"], 0 if distributed.rank() else state["images"]

    def mean(self) -> float | None:
        """Return the mean loss per image so far; None before the first image."""
        images = distributed.total(self.images)
        return float(self._sum) / images if images else None


class LearningCurves(pl.Callback):
    """Records one point of each curve per epoch; a value that is not finite ends the training."""

    def __init__(self) -> None:
        self.points: dict[str, list[float]] = {}
        """Name of a curve -> one value per epoch."""
        self.after_steps: dict[int, float] = {}
        """Number of steps -> test accuracy, where the recipe asks for it."""
        # To look for NaN in each batch is to wait for the device; in the mean it shows as well.
        # A weighted mean that does not look has wrong weights in torchmetrics 1.9.
        self._accuracy = MeanMetric(nan_strategy="disable")
        self._test_loss = SumMetric(nan_strategy="disable")
        self._images = SumMetric(nan_strategy="disable")
        self._train_loss = MeanLoss()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Reset the training loss."""
        self._train_loss = MeanLoss()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of a batch; measure the accuracy after so many steps."""
        self._train_loss.add_part(outputs["loss"], len(batch[1]))
        steps = trainer.global_step
        if steps in pl_module.context.recipe.evaluate_at:
            batches = pl_module.trainer.datamodule.val_dataloader()
            self.after_steps[steps] = accuracy(pl_module, batches)

    def add_sum(self, loss: float, images: int) -> None:
        """Add the sum of the training losses of `images` images."""
        self._train_loss.add_sum(loss, images)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Record the training loss: the Trainer validates before the epoch ends."""
        for metric in self._metrics:
            metric.to(pl_module.device)
        mean = self._train_loss.mean()
        if mean is not None:
            self._record("train_loss", mean, pl_module)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the outputs of `validation_step`: correct images and mean loss of a batch."""
        self._accuracy.update(outputs["correct"])
        self._test_loss.update(outputs["loss"].float() * len(batch[1]))
        self._images.update(len(batch[1]))
        mark_step(pl_module.device)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Record the test accuracy and loss of the epoch."""
        self._record("test_accuracy", float(self._accuracy.compute()), pl_module)
        mean = self._test_loss.compute() / self._images.compute()
        self._record("test_loss", float(mean), pl_module)
        for metric in self._metrics:
            metric.reset()

    @property
    def _metrics(self) -> Sequence[Metric]:
        return self._accuracy, self._test_loss, self._images

    def collect(self) -> None:
        """Move to the first rank what each has counted of an unfinished epoch."""
        self._train_loss.collect()

    def state_dict(self) -> dict[str, Any]:
        """Return the points so far, and the training loss of an unfinished epoch."""
        return {
            "points": {name: list(curve) for name, curve in self.points.items()},
            "after_steps": dict(self.after_steps),
            "train_loss": self._train_loss.state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the points of a checkpoint."""
        self.points = {name: list(curve) for name, curve in state_dict["points"].items()}
        self.after_steps = dict(state_dict["after_steps"])
        self._train_loss.load_state_dict(state_dict["train_loss"])

    def _record(self, curve: str, value: float, module: pl.LightningModule) -> None:
        if not math.isfinite(value):
            name = curve.replace("_", " ")
            raise Diverged(f"the {name} became {value} in epoch {module.current_epoch + 1}")
        self.points.setdefault(curve, []).append(value)
