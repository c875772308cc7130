"""Worker processes: they read row groups and decode photographs into pieces of batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError
from pai_bench.data.order import Integers, Piece
from pai_bench.data.photographs import (
    Broken,
    Crop,
    Shape,
    evaluation_pixels,
    training_pixels,
    uniforms,
)
from pai_bench.data.shards import RowGroup, Shards

Decoded = tuple[Tensor, Tensor, int]
"""Pixels uint8 (N, C, H, W), labels int64 (N,), and the number of photographs skipped."""
AHEAD = 4
"""Pieces that each worker prefetches."""


class Decoder(Dataset["Decoded | BenchError"]):
    """Maps a piece to its pixels and labels; broken photographs are skipped and counted.

    Row groups that a lane's next piece may need are cached, as the bytes of their files. An error
    in the data is returned, not raised: DataLoader would wrap it in a traceback of the worker.
    """

    def __init__(self, shards: Shards, shape: Shape, crop: Crop | None) -> None:
        self._shards, self._shape, self._crop = shards, shape, crop
        self._cache: dict[int, dict[int, RowGroup]] = {}

    def __getitem__(self, piece: Piece) -> Decoded | BenchError:
        try:
            return self._decode(piece)
        except BenchError as error:
            return error

    def _decode(self, piece: Piece) -> Decoded:
        groups, rows = self._shards.locate(piece.numbers)
        decoded: dict[int, tuple[Tensor, int]] = {}
        for place, group in self._row_groups(piece, groups):
            row, number = int(rows[place]), int(piece.numbers[place])
            with suppress(Broken):
                pixels = self._pixels(group.bytes_of(row), piece.seed, number)
                decoded[place] = pixels, int(group.labels[row])
        skipped = len(piece.numbers) - len(decoded)
        if not decoded:
            return torch.empty((0, *self._shape), dtype=torch.uint8), _labels([]), skipped
        images, labels = zip(*(decoded[place] for place in sorted(decoded)), strict=True)
        return default_collate(list(images)), _labels(labels), skipped  # Into shared memory.

    def _row_groups(self, piece: Piece, groups: Integers) -> Iterator[tuple[int, RowGroup]]:
        """Yield each position in the piece with its row group; cache the lane's row groups."""
        cached, keep = self._cache.pop(piece.lane, {}), set(piece.keep.tolist())
        for number in dict.fromkeys(groups.tolist()):
            group = (
                cached.get(number) or self._cached_elsewhere(number) or self._shards.read(number)
            )
            yield from ((int(place), group) for place in np.flatnonzero(groups == number))
            if number in keep:
                cached[number] = group
        self._cache[piece.lane] = {number: cached[number] for number in keep & cached.keys()}

    def _cached_elsewhere(self, number: int) -> RowGroup | None:
        """Look a row group up in other lanes' caches: there may be fewer row groups than lanes."""
        return next((cached[number] for cached in self._cache.values() if number in cached), None)

    def _pixels(self, data: bytes | None, seed: int, number: int) -> Tensor:
        if data is None:
            raise Broken("the parquet file has no bytes for it")
        if self._crop is None:
            return evaluation_pixels(data, self._shape)
        return training_pixels(data, self._shape, self._crop, uniforms(seed, number))


def crop_of(recipe: Recipe) -> Crop | None:
    """Return the random crops of training images; None where they are not augmented.

    Raises:
        BenchError: The recipe's augmentation is for small images of one size.
    """
    if recipe.augment == "none":
        return None
    if recipe.augment == "resized-crop-flip":
        return Crop(recipe.crop_scale, recipe.crop_ratio)
    raise BenchError(
        f"augment: {recipe.augment} is for images of one size; photographs that are streamed need "
        "resized-crop-flip or none"
    )


class _Pieces(Sampler[Piece]):
    """The pieces of the next pass."""

    def __init__(self) -> None:
        self.next: list[Piece] = []

    def __iter__(self) -> Iterator[Piece]:
        return iter(self.next)

    def __len__(self) -> int:
        return len(self.next)


class Pool:
    """Persistent worker processes that decode pieces in the given order.

    With no workers, this process decodes. A pool that is not closed ends with its last reference.
    """

    def __init__(self, decoder: Decoder, workers: int, pin: bool) -> None:
        self._pieces = _Pieces()
        self._loader: DataLoader[Decoded | BenchError] | None = DataLoader(
            decoder,
            batch_size=None,
            sampler=self._pieces,
            num_workers=workers,
            collate_fn=_identity,
            pin_memory=pin,
            worker_init_fn=_ignore_pillow_warnings,
            generator=torch.Generator(),  # By default every pass draws from the global one.
            prefetch_factor=AHEAD if workers else None,
            persistent_workers=workers > 0,
        )
        self._running: Iterator[Decoded | BenchError] = iter(())
        self._passes = 0

    def decode(self, pieces: list[Piece]) -> Iterator[Decoded]:
        """Yield one result for each piece.

        Raises:
            BenchError: The data cannot be read.
            RuntimeError: Another pass over the same pool has begun.
        """
        assert self._loader is not None, "the pool is closed"
        self._passes += 1
        number, self._pieces.next = self._passes, pieces
        self._running = iter(self._loader)
        for _ in pieces:
            if number != self._passes:
                raise RuntimeError("another pass over the same batches has begun")
            decoded = next(self._running)
            if isinstance(decoded, BenchError):
                self.close()
                raise decoded
            yield decoded

    def close(self) -> None:
        """Shut the workers down at once, even where an unfinished pass is still referenced.

        Left to the garbage collector, they would linger for seconds: it closes their queues before
        it signals them to end.
        """
        self._running, self._loader = iter(()), None


def _labels(labels: Sequence[int]) -> Tensor:
    return torch.tensor(labels, dtype=torch.int64)


def _identity(decoded: Any) -> Any:
    return decoded


def _ignore_pillow_warnings(_worker: int) -> None:
    """Ignore Pillow's warnings about odd EXIF data and the like, one for each photograph."""
    warnings.filterwarnings("ignore", module="PIL")
