"""Batches of small data sets: one uint8 tensor on the device, indexed batch by batch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from pai_bench.config.schema import Data, Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.data.augment import crop_flip, pad, resized_crop_flip
from pai_bench.data.holdout import split
from pai_bench.data.locations import redact_source
from pai_bench.data.pixels import Pixels, Statistics
from pai_bench.data.sources import Arrays
from pai_bench.data.text import check_recipe

Batch = tuple[Tensor, Tensor]
EVALUATION_BATCH = 2000
EVALUATION_VALUES = EVALUATION_BATCH * 28 * 28
"""An evaluation batch has at most so many images and so many values."""
CROPS = ("crop-flip", "mirror-crop-flip")


class TrainBatches:
    """One pass over the training set per epoch; says where it stands, and starts from there.

    Order and augmentation of an epoch depend on (seed, epoch) alone, so that every method at one
    seed sees the same batches, and a run that starts at a later epoch does too. The Trainer puts
    `state_dict` into its checkpoints, so that a run may start in the midst of an epoch.
    """

    def __init__(self, module: InMemoryData) -> None:
        self._module = module
        self.epoch = 0
        """Epoch of the next pass."""
        self._first = 0
        self._augment: torch.Generator | None = None
        self._reached = 0, 0

    def __len__(self) -> int:
        return -(-self._module.train_size // self._module.recipe.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        module, epoch, first = self._module, self.epoch, self._first
        order = torch.randperm(
            module.train_size, generator=module.rng.generator(f"data-order/{epoch}")
        )
        if not first or self._augment is None:
            self._augment = module.rng.generator(f"augment/{epoch}")
        augment = self._augment
        self.epoch, self._first = epoch + 1, 0
        batches = order.to(module.device).split(module.recipe.batch_size)
        for done, index in enumerate(batches[first:], first + 1):
            started = time.perf_counter()
            batch = module.batch(index, augment)
            module.seconds += time.perf_counter() - started
            self._reached = (epoch, done) if done < len(self) else (epoch + 1, 0)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Epoch, number of batches that were handed out of it, of how many, and what chance did."""
        epoch, batches = self._reached
        drawn = self._augment.get_state() if self._augment is not None else None
        return {"epoch": epoch, "batches": batches, "of": len(self), "augment": drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass begin where `state` was taken.

        Raises BenchError for a state of other data or another batch size.
        """
        if state["of"] != len(self):
            raise BenchError(
                f"checkpoint of an epoch of {state['of']} batches; this one has {len(self)}: data "
                "and batch size must be the same"
            )
        self.epoch, self._first = self._reached = state["epoch"], state["batches"]
        self._augment = None
        if state["augment"] is not None:
            self._augment = torch.Generator()
            self._augment.set_state(state["augment"])


class EvaluationBatches:
    """The test set in order, in large batches; sequences in batches of the training's size."""

    def __init__(self, module: InMemoryData) -> None:
        self._module = module
        values = module.tensors["test_images"][0].numel()
        self._size = max(1, min(EVALUATION_BATCH, EVALUATION_VALUES // values))
        if module.tensors["test_labels"].ndim > 1:
            self._size = module.recipe.batch_size  # A network keeps much more of each symbol.

    def __len__(self) -> int:
        return -(-self._module.test_size // self._size)

    def __iter__(self) -> Iterator[Batch]:
        module = self._module
        images = module.tensors["test_images"].split(self._size)
        labels = module.tensors["test_labels"].split(self._size)
        for raw, target in zip(images, labels, strict=True):
            yield module.pixels(raw), target.long()


class InMemoryData(pl.LightningDataModule):
    """A small data set as the Trainer sees it.

    Training images are padded once, if the recipe crops them. `seconds` adds up the time spent on
    making training batches (on a GPU: on launching the work).
    """

    def __init__(self, arrays: Arrays, settings: Data, recipe: Recipe, rng: RandomStreams) -> None:
        super().__init__()
        if settings.text is not None:
            check_recipe(recipe)
        self.recipe, self.rng, self.classes = recipe, rng, settings.classes
        self.arrays, self.pixels = arrays, Pixels(settings, recipe)
        self.tensors = _parts(arrays, recipe)
        self.train_size = len(self.tensors["train_labels"])
        self.test_size = len(self.tensors["test_labels"])
        self.statistics: Statistics | None = None
        if self.pixels.by_image:
            self.statistics = self.pixels.statistics(self.tensors["train_images"])
        if recipe.augment in CROPS:
            mirror = recipe.augment == "mirror-crop-flip"
            self.tensors["train_images"] = pad(self.tensors["train_images"], mirror=mirror)
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
        if self.statistics is not None:
            self.statistics = self.statistics[0].to(device), self.statistics[1].to(device)
        self.pixels.to(device)
        return self

    def provenance(self) -> dict[str, Any]:
        """What a result says about its data."""
        return {"digest": self.arrays.digest, "source": redact_source(self.arrays.source)}

    def batch(self, index: Tensor, augment: torch.Generator) -> Batch:
        """Make the training batch of the images at `index`, augmented as the recipe says."""
        own = self.statistics and (self.statistics[0][index], self.statistics[1][index])
        raw = self._augmented(index, augment)
        return self.pixels(raw, own), self.tensors["train_labels"][index].long()

    def _augmented(self, index: Tensor, augment: torch.Generator) -> Tensor:
        images, recipe = self.tensors["train_images"], self.recipe
        if recipe.augment in CROPS:
            return crop_flip(images, index, augment)
        if recipe.augment == "resized-crop-flip":
            return resized_crop_flip(images[index], augment, recipe.crop_scale, recipe.crop_ratio)
        return images[index]

    def score_batches(self, blank: bool = False) -> list[Batch]:
        """The pruning loader: a few random training images, in batches, augmented.

        `blank` batches will not be looked at; making them costs nothing here.

        `score_images_per_class` x classes images, the first of a random permutation and so not
        balanced (NTK-SAP's code, section 1.2 of its specification).
        """
        generator = self.rng.generator("score")
        count = self.recipe.score_images_per_class * self.classes
        chosen = torch.randperm(self.train_size, generator=generator)[:count].to(self.device)
        return [self.batch(i, generator) for i in chosen.split(self.recipe.score_batch_size)]

    def extra_batch(self, number: int) -> Batch:
        """Training batch `number` of an order of its own, which no epoch has.

        For methods that look at gradients beside the steps; it depends on (seed, `number`) alone.
        """
        turn, place = divmod(number, len(self.train_dataloader()))
        generator = self.rng.generator(f"data-order/extra/{turn}")
        order = torch.randperm(self.train_size, generator=generator)
        index = order.split(self.recipe.batch_size)[place].to(self.device)
        return self.batch(index, self.rng.generator(f"augment/extra/{number}"))

    def train_dataloader(self) -> TrainBatches:
        """One pass over the training images per epoch."""
        return TrainBatches(self)

    def val_dataloader(self) -> EvaluationBatches:
        """The images that are evaluated after each epoch: test images, or those held out."""
        return EvaluationBatches(self)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Return the batch as it is: it was made on the device."""
        return batch


def _parts(arrays: Arrays, recipe: Recipe) -> dict[str, Tensor]:
    """The images to train on and to evaluate on; held-out ones are never trained on."""
    tensors = arrays.tensors()
    if not recipe.holdout:
        return tensors
    images, labels = tensors["train_images"], tensors["train_labels"]
    train, held = split(labels, recipe.holdout)
    tensors |= {"train_images": images[train], "train_labels": labels[train]}
    if recipe.evaluate == "validation":
        tensors |= {"test_images": images[held], "test_labels": labels[held]}
    return tensors
