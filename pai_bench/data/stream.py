"""Photographs that do not fit in memory: decoded by worker processes, batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from pai_bench.config.schema import Data, Recipe
from pai_bench.core import distributed
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.data import order
from pai_bench.data.decoder import Decoder, Pool, crop_of
from pai_bench.data.locations import redact_source
from pai_bench.data.order import Piece, Plan
from pai_bench.data.pixels import Pixels
from pai_bench.data.shards import Shards
from pai_bench.data.stream_batches import (
    Batch,
    StreamedEvaluationBatches,
    StreamedScoreBatches,
    StreamedTrainBatches,
)

SEARCH = 1000
"""Photographs that are tried instead of a batch without any readable one."""


class StreamedData(pl.LightningDataModule):
    """Batches of a streamed data set of photographs.

    Photographs are sent to the device as uint8 and normalised there. `recipe.batch_size` is the
    batch of all ranks together: each takes its part of every batch. `seconds` is the total time
    that the training loop waited for batches; `skipped` counts broken photographs, each time that
    one was left out of a batch.

    Longer than other classes, because the Trainer and the methods ask one object for batches to
    train on, to evaluate on and to score, and all of them come from the same worker processes.

    Args:
        files: Parquet files by role, `train` and `test`.
        settings: The data set's entry in benchmark.yaml.
        recipe: The recipe: batch size, augmentation, normalisation.
        rng: The random streams of the network's seed: order, augmentation, scoring batches.
        workers: Number of worker processes; 0 decodes in this process.
        rank: Index of this process, where torch.distributed is not initialised.
        ranks: Number of processes, where torch.distributed is not initialised.

    Raises:
        BenchError: A file cannot be read, or the recipe is not supported for streamed data.
    """

    def __init__(
        self,
        files: Mapping[str, Sequence[Path]],
        settings: Data,
        recipe: Recipe,
        rng: RandomStreams,
        workers: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__()
        if recipe.holdout:
            raise BenchError("holdout: photographs that are streamed cannot be held out")
        self.settings, self.recipe, self.rng = settings, recipe, rng
        self.shards = {role: Shards(files[role], settings) for role in ("train", "test")}
        self.train_size, self.test_size = self.shards["train"].size, self.shards["test"].size
        self.classes, self.workers = settings.classes, workers
        self._crop, self.pixels = crop_of(recipe), Pixels(settings, recipe)
        self._source = str(Path(files["train"][0]).parent)
        self._default_ranks = rank, ranks
        self._training_pool: Pool | None = None
        self._extra_pool: Pool | None = None
        self.device = torch.device("cpu")
        self.seconds = 0.0
        self.skipped = 0

    @property
    def rank(self) -> int:
        """Index of this process in data-parallel training."""
        return distributed.rank() if distributed.ranks() > 1 else self._default_ranks[0]

    @property
    def ranks(self) -> int:
        """Number of processes in data-parallel training."""
        return distributed.ranks() if distributed.ranks() > 1 else self._default_ranks[1]

    def setup(self, stage: str) -> None:
        """Make batches on the Trainer's device from now on."""
        assert self.trainer is not None
        self.to(self.trainer.strategy.root_device)

    def teardown(self, stage: str) -> None:
        """Shut the worker processes down."""
        for pool in (self._training_pool, self._extra_pool):
            if pool is not None:
                pool.close()
        self._training_pool = self._extra_pool = None

    def to(self, device: torch.device) -> StreamedData:
        """Make batches on `device` from now on."""
        self.device = device
        self.pixels.to(device)
        return self

    def provenance(self) -> dict[str, Any]:
        """Digest (of the files' metadata) and source of the data, as stored with a result."""
        digest = hashlib.sha256("".join(s.digest for s in self.shards.values()).encode())
        return {
            "digest": digest.hexdigest(),
            "source": redact_source(self._source),
            "images": [self.train_size, self.test_size],
            "skipped": self.skipped,
        }

    def pool(self, role: str) -> Pool:
        """Start workers for the images of `role`: augmented for `train`, else as evaluated."""
        return Pool(self._decoder(role), self.workers, pin=self.device.type == "cuda")

    def training_pool(self) -> Pool:
        """Workers for training images, persistent until `teardown`."""
        self._training_pool = self._training_pool or self.pool("train")
        return self._training_pool

    def _decoder(self, role: str) -> Decoder:
        crop = self._crop if role == "train" else None
        return Decoder(self.shards[role], self.settings.shape, crop)

    def plan(self, epoch: int | str) -> Plan:
        """List the training batches of an epoch: a function of seed, epoch and rank."""
        shuffled = order.shuffled(
            self.shards["train"].rows, self.rng.seed_of(f"data-order/{epoch}")
        )
        seed = self.rng.seed_of(f"augment/{epoch}")
        batches = order.batches(shuffled, self.recipe.batch_size, seed)
        in_order = self.recipe.batch_norm_parts > 1
        return [order.part(batch, self.rank, self.ranks, in_order) for batch in batches]

    def raw_batches(self, pool: Pool, plan: Plan) -> Iterator[Batch]:
        """Assemble batches on the device, as uint8; broken photographs are skipped."""
        decoded = pool.decode([piece for batch in plan for piece in batch])
        for batch in plan:
            pieces = [next(decoded) for _ in batch]
            self.skipped += sum(skipped for *_, skipped in pieces)
            images = [pixels.to(self.device, non_blocking=True) for pixels, *_ in pieces]
            labels = [targets.to(self.device, non_blocking=True) for _, targets, _ in pieces]
            yield (torch.cat(images), torch.cat(labels)) if batch else self._empty()

    def _empty(self) -> Batch:
        """The part of a rank, where a batch has fewer images than there are ranks."""
        images = torch.empty((0, *self.settings.shape), dtype=torch.uint8, device=self.device)
        return images, torch.empty(0, dtype=torch.int64, device=self.device)

    def training_batches(self, pool: Pool, plan: Plan) -> Iterator[Batch]:
        """Yield normalised batches, none of them without a photograph that can be read."""
        for images, labels in self.raw_training_batches(pool, plan):
            yield self.pixels(images), labels

    def raw_training_batches(self, pool: Pool, plan: Plan) -> Iterator[Batch]:
        """Yield batches of uint8, none of them without a photograph that can be read."""
        for batch, (images, labels) in zip(plan, self.raw_batches(pool, plan), strict=True):
            is_broken = batch and not len(labels)
            yield self._replacement(batch) if is_broken else (images, labels)

    def _replacement(self, batch: list[Piece]) -> Batch:
        """Return the next readable photograph, for a batch of which none can be read."""
        decoder, last = self._decoder("train"), int(batch[-1].numbers[-1])
        for number in range(last + 1, last + 1 + SEARCH):
            (piece,) = order.pieces(np.array([number % self.train_size]), batch[-1].seed)
            decoded = decoder[piece]
            if isinstance(decoded, BenchError):
                raise decoded
            images, labels, _ = decoded
            if len(labels):
                return images.to(self.device), labels.to(self.device)
        raise BenchError(f"{self._source}: {SEARCH} photographs in a row cannot be decoded")

    def score_batches(self, blank: bool = False) -> StreamedScoreBatches:
        """Batches for scoring: `score_images_per_class` x classes random images, augmented.

        They are the first of a random permutation of the training images, and so not balanced, as
        for data in memory; the same on every rank.

        Args:
            blank: Return zeros of the right shapes, for methods that use nothing else.
        """
        draws = np.random.Philox(key=self.rng.seed_of("score")).random_raw(self.train_size)
        count = self.recipe.score_images_per_class * self.classes
        numbers = np.argsort(draws, kind="stable")[:count]
        plan = self.score_plan(numbers, "score/augment")
        return StreamedScoreBatches(self, plan, self.pool("train"), blank)

    def score_plan(self, numbers: order.Integers, stream: str) -> Plan:
        """Cut images into batches for scoring, augmented by the named random stream."""
        seed, size = self.rng.seed_of(stream), self.recipe.score_batch_size
        cuts = range(size, len(numbers), size)
        return [order.pieces(batch, seed) for batch in np.split(numbers, cuts)]

    def extra_batch(self, number: int) -> Batch:
        """Return this rank's training batch `number` of a separate order that no epoch uses.

        For methods that compute gradients between steps; depends on (seed, `number`) alone.
        """
        extra_epoch, position = divmod(number, len(self.train_dataloader()))
        self._extra_pool = self._extra_pool or self.pool("train")
        plan = self.plan(f"extra/{extra_epoch}")[position : position + 1]
        return next(self.training_batches(self._extra_pool, plan))

    def train_dataloader(self) -> StreamedTrainBatches:
        """One pass over the training images per epoch."""
        return StreamedTrainBatches(self)

    def val_dataloader(self) -> StreamedEvaluationBatches:
        """The test images, evaluated after each epoch."""
        return StreamedEvaluationBatches(self)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Return the batch unchanged: it was made on the device."""
        return batch
