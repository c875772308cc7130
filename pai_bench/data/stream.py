"""Batches of photographs that do not fit in memory: decoded by worker processes, batch by batch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from pai_bench.config.schema import Data, Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.data import order
from pai_bench.data.decoder import Decoder, Pool, crop_of
from pai_bench.data.locations import redact_source
from pai_bench.data.order import Piece, Plan
from pai_bench.data.pixels import Pixels
from pai_bench.data.shards import Shards

Batch = tuple[Tensor, Tensor]
EVALUATION_BATCH = 256
SEARCH = 1000
"""Photographs that are tried in place of a batch of which none can be read."""


class StreamedTrainBatches:
    """One pass over the training set per epoch; says where it stands, and starts from there.

    Order and augmentation of an epoch depend on (seed, epoch) alone. The Trainer puts `state_dict`
    into its checkpoints: a run that is resumed sees the batches that the other one had left.
    """

    def __init__(self, data: StreamedData) -> None:
        self._data = data
        self.epoch = 0
        """Epoch of the next pass."""
        self._first = 0
        self._reached = 0, 0

    def __len__(self) -> int:
        return order.batch_count(self._data.train_size, self._data.batch_size, self._data.ranks)

    def __iter__(self) -> Iterator[Batch]:
        epoch, first = self.epoch, self._first
        self.epoch, self._first = epoch + 1, 0
        self._reached = epoch, first
        plan = self._data.plan(epoch)[first:]
        batches = self._data.training_batches(self._data.kept_pool(), plan)
        for done in range(first + 1, len(self) + 1):
            started = time.perf_counter()
            batch = next(batches)
            self._data.seconds += time.perf_counter() - started
            self._reached = (epoch, done) if done < len(self) else (epoch + 1, 0)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Epoch and number of batches that were handed out of it, and of how many."""
        epoch, batches = self._reached
        return {"epoch": epoch, "batches": batches, "of": len(self)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next pass begin where `state` was taken.

        Raises BenchError for a state of other data, another batch size or number of ranks.
        """
        if state["of"] != len(self):
            raise BenchError(
                f"checkpoint of an epoch of {state['of']} batches; this one has {len(self)}: "
                "data, batch size and number of ranks must be the same"
            )
        self.epoch, self._first = state["epoch"], state["batches"]
        self._reached = self.epoch, self._first


class StreamedEvaluationBatches:
    """The test images, each once, the same way in each pass."""

    def __init__(self, data: StreamedData) -> None:
        self._data = data

    def __len__(self) -> int:
        return order.batch_count(self._data.test_size, EVALUATION_BATCH, self._data.ranks)

    def __iter__(self) -> Iterator[Batch]:
        data = self._data
        rows = data.shards["test"].rows
        plan = order.batches(
            order.in_order(rows), EVALUATION_BATCH, rank=data.rank, ranks=data.ranks
        )
        pool = data.pool("test")
        for done, (images, labels) in enumerate(data.raw_batches(pool, plan), 1):
            if done == len(plan):
                pool.close()  # The Trainer does not ask for a batch after the last one.
            if len(labels):
                yield data.pixels(images), labels


class StreamedScoreBatches(Sequence[Batch]):
    """Batches for scoring, decoded when they are first asked for and then kept, as uint8.

    Methods look at them in every round, and each random photograph may cost a row group to read.
    `blank` batches are zeros of the right shape: for methods that do not look, nothing is decoded.
    """

    def __init__(self, data: StreamedData, plan: Plan, pool: Pool, blank: bool) -> None:
        self._data, self._plan, self._pool, self._blank = data, plan, pool, blank
        self._kept: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if self._blank:
            count = sum(len(piece.numbers) for piece in self._plan[index])
            shape = (count, *self._data.settings.shape)
            device = self._data.device
            return torch.zeros(shape, device=device), torch.zeros(
                count, dtype=torch.int64, device=device
            )
        if index not in self._kept:
            batches = self._data.raw_training_batches(self._pool, [self._plan[index]])
            images, labels = next(batches)
            self._kept[index] = images.cpu(), labels.cpu()
        images, labels = (part.to(self._data.device) for part in self._kept[index])
        return self._data.pixels(images), labels


class StreamedData(pl.LightningDataModule):
    """A data set of photographs as the Trainer sees it.

    `files` are parquet files by role, `train` and `test`. Photographs travel as uint8 and are
    normalised on the device. `recipe.batch_size` is the batch of all ranks together: each takes an
    equal part. `seconds` adds up how long the training loop waited for batches; `skipped` counts
    broken photographs, each time that they were left out of a batch.

    Raises BenchError for files that cannot be read and for recipes that cannot be followed.
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
        self._given = rank, ranks
        self._kept_pool: Pool | None = None
        self._extra_pool: Pool | None = None
        self.device = torch.device("cpu")
        self.seconds = 0.0
        self.skipped = 0

    @property
    def rank(self) -> int:
        """Number of this process among those that train together."""
        return torch.distributed.get_rank() if _distributed() else self._given[0]

    @property
    def ranks(self) -> int:
        """How many processes train together."""
        return torch.distributed.get_world_size() if _distributed() else self._given[1]

    @property
    def batch_size(self) -> int:
        """This rank's part of a batch."""
        size, ranks = self.recipe.batch_size, self.ranks
        if size % ranks:
            raise BenchError(f"batch_size {size} cannot be divided among {ranks} ranks")
        return size // ranks

    def setup(self, stage: str) -> None:
        """Make batches on the Trainer's device from now on."""
        assert self.trainer is not None
        self.to(self.trainer.strategy.root_device)

    def teardown(self, stage: str) -> None:
        """Let the worker processes go."""
        for pool in (self._kept_pool, self._extra_pool):
            if pool is not None:
                pool.close()
        self._kept_pool = self._extra_pool = None

    def to(self, device: torch.device) -> StreamedData:
        """Make batches on `device` from now on."""
        self.device = device
        self.pixels.to(device)
        return self

    def provenance(self) -> dict[str, Any]:
        """What a result says about its data; the digest is of the files' outlines."""
        digest = hashlib.sha256("".join(s.digest for s in self.shards.values()).encode())
        return {
            "digest": digest.hexdigest(),
            "source": redact_source(self._source),
            "images": [self.train_size, self.test_size],
            "skipped": self.skipped,
        }

    def pool(self, role: str) -> Pool:
        """Start workers for the images of `role`, seen as in evaluation unless they train."""
        return Pool(self._decoder(role), self.workers, pin=self.device.type == "cuda")

    def kept_pool(self) -> Pool:
        """Workers for training images, kept from epoch to epoch until the Trainer is done."""
        self._kept_pool = self._kept_pool or self.pool("train")
        return self._kept_pool

    def _decoder(self, role: str) -> Decoder:
        crop = self._crop if role == "train" else None
        return Decoder(self.shards[role], self.settings.shape, crop)

    def plan(self, epoch: int | str) -> Plan:
        """List the training batches of an epoch: a function of seed, epoch and rank."""
        shuffled = order.shuffled(
            self.shards["train"].rows, self.rng.seed_of(f"data-order/{epoch}")
        )
        seed = self.rng.seed_of(f"augment/{epoch}")
        return order.batches(shuffled, self.batch_size, seed, self.rank, self.ranks)

    def raw_batches(self, pool: Pool, plan: Plan) -> Iterator[Batch]:
        """Put batches together on the device, as uint8; broken photographs are left out."""
        decoded = pool.decode([piece for batch in plan for piece in batch])
        for batch in plan:
            parts = [next(decoded) for _ in batch]
            self.skipped += sum(skipped for *_, skipped in parts)
            images = [part.to(self.device, non_blocking=True) for part, *_ in parts]
            labels = [part.to(self.device, non_blocking=True) for _, part, _ in parts]
            yield torch.cat(images), torch.cat(labels)

    def training_batches(self, pool: Pool, plan: Plan) -> Iterator[Batch]:
        """Make normalised batches, none of them empty, so that all ranks step equally often."""
        for images, labels in self.raw_training_batches(pool, plan):
            yield self.pixels(images), labels

    def raw_training_batches(self, pool: Pool, plan: Plan) -> Iterator[Batch]:
        """Make batches of uint8, none of them empty."""
        for batch, (images, labels) in zip(plan, self.raw_batches(pool, plan), strict=True):
            yield (images, labels) if len(labels) else self._instead_of(batch)

    def _instead_of(self, batch: list[Piece]) -> Batch:
        """Take the next readable photograph in place of a batch of which none can be read."""
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
        """The pruning loader: a few random training images, in batches, augmented; or zeros.

        `score_images_per_class` x classes images, the first of a random permutation and so not
        balanced, as for data in memory; the same on every rank.
        """
        draws = np.random.Philox(key=self.rng.seed_of("score")).random_raw(self.train_size)
        count = self.recipe.score_images_per_class * self.classes
        chosen = np.argsort(draws, kind="stable")[:count]
        seed, size = self.rng.seed_of("score/augment"), self.recipe.score_batch_size
        cuts = range(size, len(chosen), size)
        plan = [order.pieces(part, seed) for part in np.split(chosen, cuts)]
        return StreamedScoreBatches(self, plan, self.pool("train"), blank)

    def extra_batch(self, number: int) -> Batch:
        """Training batch `number` of an order of its own, which no epoch has; of this rank.

        For methods that look at gradients beside the steps; it depends on (seed, `number`) alone.
        """
        turn, place = divmod(number, len(self.train_dataloader()))
        self._extra_pool = self._extra_pool or self.pool("train")
        plan = self.plan(f"extra/{turn}")[place : place + 1]
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
        """Return the batch as it is: it was made on the device."""
        return batch


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
