"""Batches of small data sets: one uint8 tensor on the device, indexed batch by batch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch

from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.data.image_tensors import Batch, ImageTensors

EVALUATION_BATCH = 2000
EVALUATION_VALUES = EVALUATION_BATCH * 28 * 28
"""An evaluation batch has at most so many images and so many values."""


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
        batches = order.to(module.images.device).split(module.recipe.batch_size)
        for done, index in enumerate(batches[first:], first + 1):
            started = time.perf_counter()
            batch = module.images.batch(index, augment)
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
        values = module.images.tensors["test_images"][0].numel()
        self._size = max(1, min(EVALUATION_BATCH, EVALUATION_VALUES // values))
        if module.images.tensors["test_labels"].ndim > 1:
            self._size = module.recipe.batch_size  # A network keeps much more of each symbol.

    def __len__(self) -> int:
        return -(-self._module.test_size // self._size)

    def __iter__(self) -> Iterator[Batch]:
        held = self._module.images
        images = held.tensors["test_images"].split(self._size)
        labels = held.tensors["test_labels"].split(self._size)
        for raw, target in zip(images, labels, strict=True):
            yield held.pixels(raw), target.long()


class InMemoryData(pl.LightningDataModule):
    """Batches of one network, in the order of its seed, from images that a bundle shares.

    `seconds` adds up the time spent on making training batches (on a GPU: on launching the work).

    Args:
        images: The data set as the recipe wants it.
        rng: The random streams of the network's seed: order, augmentation, scoring batches.
    """

    def __init__(self, images: ImageTensors, rng: RandomStreams) -> None:
        super().__init__()
        self.images, self.recipe, self.rng = images, images.recipe, rng
        self.train_size = len(images.tensors["train_labels"])
        self.test_size = len(images.tensors["test_labels"])
        self.seconds = 0.0

    def setup(self, stage: str) -> None:
        """Move the data set to the Trainer's device."""
        assert self.trainer is not None
        self.to(self.trainer.strategy.root_device)

    def to(self, device: torch.device) -> InMemoryData:
        """Move the data set to `device`."""
        self.images.to(device)
        return self

    def provenance(self) -> dict[str, Any]:
        """What a result says about its data."""
        return self.images.provenance()

    def score_batches(self, blank: bool = False) -> list[Batch]:
        """The pruning loader: a few random training images, in batches, augmented.

        `blank` batches will not be looked at; making them costs nothing here.

        `score_images_per_class` x classes images, the first of a random permutation and so not
        balanced (NTK-SAP's code, section 1.2 of its specification).
        """
        generator = self.rng.generator("score")
        count = self.recipe.score_images_per_class * self.images.classes
        chosen = torch.randperm(self.train_size, generator=generator)[:count].to(self.images.device)
        return [self.images.batch(i, generator) for i in chosen.split(self.recipe.score_batch_size)]

    def extra_batch(self, number: int) -> Batch:
        """Training batch `number` of an order of its own, which no epoch has.

        For methods that look at gradients beside the steps; it depends on (seed, `number`) alone.
        """
        turn, place = divmod(number, len(self.train_dataloader()))
        generator = self.rng.generator(f"data-order/extra/{turn}")
        order = torch.randperm(self.train_size, generator=generator)
        index = order.split(self.recipe.batch_size)[place].to(self.images.device)
        return self.images.batch(index, self.rng.generator(f"augment/extra/{number}"))

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
