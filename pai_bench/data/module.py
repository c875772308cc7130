"""Batches of small data sets: one uint8 tensor on the device, indexed batch by batch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from pai_bench.core import distributed
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.data.augment import draw_crops
from pai_bench.data.image_tensors import Batch, ImageTensors

EVALUATION_BATCH = 2000
EVALUATION_VALUES = EVALUATION_BATCH * 28 * 28
"""Most images, and most values, of an evaluation batch."""


class TrainBatches:
    """A resumable data loader: one pass over the training set per epoch.

    Order and augmentation of an epoch depend on (seed, epoch) alone, so that every method at one
    seed sees the same batches, and so does a run that resumes at a later epoch. The Trainer puts
    `state_dict` into its checkpoints, so that a run can resume within an epoch. Where several ranks
    train one network, each has its part of every batch.
    """

    def __init__(self, module: InMemoryData) -> None:
        self._module = module
        self.epoch = 0
        """Epoch of the next pass."""
        self.first = 0
        """Batch that it starts with; not 0 after `load_state_dict`."""
        self._augment: torch.Generator | None = None
        self._states: list[Tensor] = []
        self._augment_state: Tensor | None = None
        self._position = 0, 0

    def __len__(self) -> int:
        return -(-self._module.train_size // self._module.recipe.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        module, epoch, first = self._module, self.epoch, self.first
        order = torch.randperm(
            module.train_size, generator=module.rng.generator(f"data-order/{epoch}")
        )
        if not first or self._augment is None:
            self._augment = module.rng.generator(f"augment/{epoch}")
        augment = self._augment
        self.epoch, self.first, self._states = epoch + 1, 0, []
        started = time.perf_counter()
        batches = order.to(module.images.device).split(module.recipe.batch_size)[first:]
        draws: Iterable[Tensor | torch.Generator] = repeat(augment)
        if module.images.crops:
            draws = self._draw(batches, augment)
        module.seconds += time.perf_counter() - started
        for done, (index, drawn) in enumerate(zip(batches, draws, strict=False), first + 1):
            started = time.perf_counter()
            batch = module.part_of_batch(index, drawn)
            module.seconds += time.perf_counter() - started
            self._position = (epoch, done) if done < len(self) else (epoch + 1, 0)
            self._augment_state = self._states[done - first - 1] if self._states else None
            yield batch

    def _draw(self, batches: Sequence[Tensor], augment: torch.Generator) -> Sequence[Tensor]:
        """Draw the crops of an epoch: they are moved to the device once.

        The state of the generator after each batch is kept: a checkpoint saves it.
        """
        drawn = []
        for index in batches:
            drawn.append(draw_crops(len(index), augment))
            self._states.append(augment.get_state())
        crops = torch.cat(drawn).to(self._module.images.device)
        by_batch: Sequence[Tensor] = crops.split(self._module.recipe.batch_size)
        return by_batch

    def extra_batch(self, number: int) -> Batch:
        """Batch `number` of a separate order (see `InMemoryData.extra_batch`)."""
        return self._module.extra_batch(number)

    def state_dict(self) -> dict[str, Any]:
        """Epoch, its batches yielded so far and in all, and the state of the augmentation's RNG."""
        epoch, batches = self._position
        augment = self._augment_state
        if augment is None and self._augment is not None:
            augment = self._augment.get_state()
        return {"epoch": epoch, "batches": batches, "of": len(self), "augment": augment}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume the next pass where `state` was saved.

        Raises:
            BenchError: The state is that of other data or another batch size.
        """
        if state["of"] != len(self):
            raise BenchError(
                f"checkpoint of an epoch of {state['of']} batches; this one has {len(self)}: data "
                "and batch size must be the same"
            )
        self.epoch, self.first = self._position = state["epoch"], state["batches"]
        self._augment = None
        if state["augment"] is not None:
            self._augment = torch.Generator()
            self._augment.set_state(state["augment"])
        self._augment_state = state["augment"]


class EvaluationBatches:
    """The test set in order, in large batches; sequences in batches of the recipe's size.

    Of several ranks each has a part of it, so that all of them together have every image once.
    """

    def __init__(self, module: InMemoryData) -> None:
        self._module = module
        values = module.images.tensors["test_images"][0].numel()
        self.size = max(1, min(EVALUATION_BATCH, EVALUATION_VALUES // values))
        """Images of a batch."""
        if module.images.tensors["test_labels"].ndim > 1:
            self.size = module.recipe.batch_size  # Activations of a sequence take more memory.

    def __len__(self) -> int:
        own = range(self._module.test_size)[distributed.part(self._module.test_size)]
        return -(-len(own) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        data, own = self._module.images, distributed.part(self._module.test_size)
        images = data.tensors["test_images"][own].split(self.size)
        labels = data.tensors["test_labels"][own].split(self.size)
        for raw, target in zip(images, labels, strict=True):
            if len(target):
                yield data.pixels(raw), target.long()


class ScoreBatches(list[Batch]):
    """Batches for scoring: random images, augmented.

    Args:
        images: The data set.
        index: The images, in their order.
        rng: Random streams of the network's seed.
        generator: Of the augmentation.
    """

    def __init__(
        self, images: ImageTensors, index: Tensor, rng: RandomStreams, generator: torch.Generator
    ) -> None:
        cut = index.split(images.recipe.score_batch_size)
        super().__init__(images.batch(numbers, generator) for numbers in cut)
        self._images, self._index, self._rng = images, index, rng

    def afresh(self, number: int) -> ScoreBatches:
        """The same images in another order, augmented anew; a function of `number` alone."""
        generator = self._rng.generator(f"score/round/{number}")
        order = torch.randperm(len(self._index), generator=generator).to(self._index.device)
        return ScoreBatches(self._images, self._index[order], self._rng, generator)


class InMemoryData(pl.LightningDataModule):
    """Batches of one network, in the order of its seed, from images that a bundle shares.

    `seconds` is the total time spent on making training batches (on a GPU: on launching the work).

    Args:
        images: The data set as the recipe specifies it.
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
        """Digest and source of the data, as stored with a result."""
        return self.images.provenance()

    def score_batches(self, blank: bool = False) -> ScoreBatches:
        """Batches for scoring: `score_images_per_class` x classes random images, augmented.

        They are the first of a random permutation of the training images, and so not balanced
        (NTK-SAP's code, section 1.2 of its specification).

        Args:
            blank: The caller needs only the shapes; ignored, as batches are cheap here.
        """
        generator = self.rng.generator("score")
        count = self.recipe.score_images_per_class * self.images.classes
        index = torch.randperm(self.train_size, generator=generator)[:count].to(self.images.device)
        return ScoreBatches(self.images, index, self.rng, generator)

    def first_batches(self, part: float) -> list[Batch]:
        """The first `part` of the training images, in their order, in batches for evaluation."""
        index = torch.arange(round(part * self.train_size), device=self.images.device)
        index = index[distributed.part(len(index))]
        size = self.val_dataloader().size
        return [self.images.batch(i, torch.Generator()) for i in index.split(size)]

    def extra_batch(self, number: int) -> Batch:
        """Return training batch `number` of a separate order that no epoch uses.

        For methods that compute gradients between steps; depends on (seed, `number`) alone.
        """
        extra_epoch, position = divmod(number, len(self.train_dataloader()))
        generator = self.rng.generator(f"data-order/extra/{extra_epoch}")
        order = torch.randperm(self.train_size, generator=generator)
        index = order.split(self.recipe.batch_size)[position].to(self.images.device)
        return self.part_of_batch(index, self.rng.generator(f"augment/extra/{number}"))

    def part_of_batch(self, index: Tensor, augment: torch.Generator | Tensor) -> Batch:
        """Make this rank's part of the batch of the images at `index` (see `ImageTensors.batch`).

        Whatever the number of ranks, each image is augmented in the same way.
        """
        if distributed.ranks() == 1:
            return self.images.batch(index, augment)
        own = distributed.part(len(index))
        if isinstance(augment, Tensor):
            return self.images.batch(index[own], augment[own])
        images, labels = self.images.batch(index, augment)
        return images[own], labels[own]

    def train_dataloader(self) -> TrainBatches:
        """One pass over the training images per epoch."""
        return TrainBatches(self)

    def val_dataloader(self) -> EvaluationBatches:
        """The images to evaluate on after each epoch: the test set, or the validation split."""
        return EvaluationBatches(self)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Return the batch unchanged: it was made on the device."""
        return batch
