"""What loaders of streamed photographs yield: batches to train on, to evaluate on, and to score."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pai_bench.core.errors import BenchError
from pai_bench.data import order
from pai_bench.data.decoder import Pool
from pai_bench.data.order import Plan

if TYPE_CHECKING:
    from pai_bench.data.stream import StreamedData

Batch = tuple[Tensor, Tensor]
EVALUATION_BATCH = 256


class StreamedTrainBatches:
    """A resumable data loader: one pass over the training set per epoch.

    Order and augmentation of an epoch depend on (seed, epoch) alone. The Trainer puts `state_dict`
    into its checkpoints, so that a run can resume within an epoch.
    """

    def __init__(self, data: StreamedData) -> None:
        self._data = data
        self.epoch = 0
        """Epoch of the next pass."""
        self.first = 0
        """Batch that it starts with; not 0 after `load_state_dict`."""
        self._position = 0, 0

    def __len__(self) -> int:
        return order.batch_count(self._data.train_size, self._data.recipe.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch, first = self.epoch, self.first
        self.epoch, self.first = epoch + 1, 0
        self._position = epoch, first
        plan = self._data.plan(epoch)[first:]
        batches = self._data.training_batches(self._data.training_pool(), plan)
        for done in range(first + 1, len(self) + 1):
            started = time.perf_counter()
            batch = next(batches)
            self._data.seconds += time.perf_counter() - started
            self._position = (epoch, done) if done < len(self) else (epoch + 1, 0)
            yield batch

    def extra_batch(self, number: int) -> Batch:
        """Batch `number` of a separate order (see `StreamedData.extra_batch`)."""
        return self._data.extra_batch(number)

    def state_dict(self) -> dict[str, int]:
        """Epoch, and its batches yielded so far and in all."""
        epoch, batches = self._position
        return {"epoch": epoch, "batches": batches, "of": len(self)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Resume the next pass where `state` was saved.

        Raises:
            BenchError: The state is that of other data or another batch size.
        """
        if state["of"] != len(self):
            raise BenchError(
                f"checkpoint of an epoch of {state['of']} batches; this one has {len(self)}: "
                "data and batch size must be the same"
            )
        self.epoch, self.first = state["epoch"], state["batches"]
        self._position = self.epoch, self.first


class StreamedEvaluationBatches:
    """The test images in order, each once."""

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
    """Batches for scoring, decoded on first use and then cached, as uint8.

    Methods use them in every round, and each random photograph may cost a row group to read.
    `blank` batches are zeros of the right shape, for methods that use the shapes only: nothing is
    decoded.
    """

    def __init__(self, data: StreamedData, plan: Plan, pool: Pool, blank: bool) -> None:
        self._data, self._plan, self._pool, self._blank = data, plan, pool, blank
        self._cache: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self._plan)

    def afresh(self, number: int) -> StreamedScoreBatches:
        """The same photographs in another order, augmented anew; a function of `number` alone."""
        numbers = np.concatenate([piece.numbers for batch in self._plan for piece in batch])
        stream = self._data.rng.seed_of(f"score/round/{number}")
        drawn = np.random.Philox(key=stream).random_raw(len(numbers))
        shuffled = numbers[np.argsort(drawn, kind="stable")]
        plan = self._data.score_plan(shuffled, f"score/augment/{number}")
        return StreamedScoreBatches(self._data, plan, self._pool, self._blank)

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
        if index not in self._cache:
            batches = self._data.raw_training_batches(self._pool, [self._plan[index]])
            images, labels = next(batches)
            self._cache[index] = images.cpu(), labels.cpu()
        images, labels = (tensor.to(self._data.device) for tensor in self._cache[index])
        return self._data.pixels(images), labels
