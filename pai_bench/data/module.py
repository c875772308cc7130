"""Batches of small data sets: one uint8 tensor on the device, indexed batch by batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from pai_bench.config import Data, Recipe
from pai_bench.data.augment import crop_flip
from pai_bench.data.sources import Arrays
from pai_bench.streams import Streams

Batch = tuple[Tensor, Tensor]
EVALUATION_BATCH = 2000


class Pixels:
    """Turns raw pixels (uint8) into normalised float32, channel by channel."""

    def __init__(self, settings: Data) -> None:
        self._mean = torch.tensor(settings.mean).view(-1, 1, 1) * 255
        self._scale = 1 / (torch.tensor(settings.std).view(-1, 1, 1) * 255)

    def to(self, device: torch.device) -> Pixels:
        """Move the constants to `device`."""
        self._mean, self._scale = self._mean.to(device), self._scale.to(device)
        return self

    def __call__(self, raw: Tensor) -> Tensor:
        """(pixel / 255 - mean) / std."""
        return raw.float().sub_(self._mean).mul_(self._scale)


class TrainBatches:
    """One pass over the training set in the order of the epoch's own streams.

    Order and augmentation of an epoch depend on (seed, epoch) alone, so that every method at one
    seed sees the same batches, and a run that starts at a later epoch does too.
    """

    def __init__(self, module: InMemoryData) -> None:
        self._module = module
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self._module.train_size // self._module.recipe.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        module = self._module
        order = torch.randperm(
            module.train_size, generator=module.streams.generator(f"data-order/{self.epoch}")
        )
        augment = module.streams.generator(f"augment/{self.epoch}")
        self.epoch += 1
        for index in order.to(module.device).split(module.recipe.batch_size):
            started = time.perf_counter()
            batch = module.batch(index, augment)
            module.seconds += time.perf_counter() - started
            yield batch


class EvaluationBatches:
    """The test set in order, in large batches."""

    def __init__(self, module: InMemoryData) -> None:
        self._module = module

    def __len__(self) -> int:
        return -(-self._module.test_size // EVALUATION_BATCH)

    def __iter__(self) -> Iterator[Batch]:
        module = self._module
        images = module.tensors["test_images"].split(EVALUATION_BATCH)
        labels = module.tensors["test_labels"].split(EVALUATION_BATCH)
        for raw, target in zip(images, labels, strict=True):
            yield module.pixels(raw), target


class InMemoryData(pl.LightningDataModule):
    """A small data set as the Trainer sees it.

    `seconds` adds up the time spent on making training batches (on a GPU: on launching the work).
    """

    def __init__(self, arrays: Arrays, settings: Data, recipe: Recipe, streams: Streams) -> None:
        super().__init__()
        self.tensors = arrays.tensors()
        self.recipe, self.streams, self.classes = recipe, streams, settings.classes
        self.pixels = Pixels(settings)
        self.train_size, self.test_size = settings.images
        self.device = torch.device("cpu")
        self.seconds = 0.0

    def setup(self, stage: str) -> None:
        """Move the data set to the Trainer's device."""
        assert self.trainer is not None
        self.to(self.trainer.strategy.root_device)

    def to(self, device: torch.device) -> InMemoryData:
        """Move the data set to `device`."""
        self.device = device
        self.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        self.pixels.to(device)
        return self

    def batch(self, index: Tensor, augment: torch.Generator) -> Batch:
        """Make the training batch of the images at `index`, augmented as the recipe says."""
        raw = self.tensors["train_images"][index]
        if self.recipe.augment == "crop-flip":
            raw = crop_flip(raw, augment)
        return self.pixels(raw), self.tensors["train_labels"][index]

    def score_batches(self) -> list[Batch]:
        """The pruning loader: a few random training images, in batches, augmented.

        `score_images_per_class` x classes images, the first of a random permutation and so not
        balanced (NTK-SAP's code, section 1.2 of its specification).
        """
        generator = self.streams.generator("score")
        count = self.recipe.score_images_per_class * self.classes
        chosen = torch.randperm(self.train_size, generator=generator)[:count].to(self.device)
        return [self.batch(i, generator) for i in chosen.split(self.recipe.score_batch_size)]

    def train_dataloader(self) -> TrainBatches:
        """One pass over the training images per epoch."""
        return TrainBatches(self)

    def val_dataloader(self) -> EvaluationBatches:
        """The test images, evaluated after each epoch."""
        return EvaluationBatches(self)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Return the batch as it is: it was made on the device."""
        return batch
