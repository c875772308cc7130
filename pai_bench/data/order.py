"""The order of streamed images: shuffled by row group, cut into batches, dealt to lanes.

Reading one image of a parquet file means reading its whole row group. So row groups are shuffled,
their images are mixed within blocks of several row groups, and each rank takes a contiguous part of
that sequence. This part is divided among `LANES` lanes, from which the pieces of batches are taken
round-robin: a batch mixes the blocks of several lanes. Worker processes take pieces round-robin
too, so that each lane is read by one worker where their number divides `LANES`, and by few
otherwise. The order does not depend on the number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pai_bench.core.errors import BenchError

Integers = npt.NDArray[np.int64]

LANES = 24
PIECE_IMAGES = 32
BLOCK_IMAGES = 512
"""Images that are mixed with each other, approximately: a lane caches their files' bytes."""


class Piece(NamedTuple):
    """A part of a batch, decoded by one worker at a time."""

    numbers: Integers
    """Indices of the images in the data set."""
    seed: int
    """Seed of the augmentation."""
    lane: int
    keep: Integers
    """Row groups that the lane's next piece may need again."""


Plan = list[list[Piece]]
"""Batches, each as a list of pieces."""


@dataclass(frozen=True)
class Order:
    """A sequence of all images, made of blocks of whole row groups."""

    numbers: Integers
    blocks: Integers
    """Number of the block of each position in the sequence."""
    groups: Integers
    """Row groups, `per_block` of them for each block."""
    per_block: int

    def groups_at(self, place: int) -> Integers:
        """Row groups of the block at a position in the sequence."""
        first = int(self.blocks[place]) * self.per_block
        return self.groups[first : first + self.per_block]


def in_order(rows: Integers) -> Order:
    """Order without shuffling; `rows` are the numbers of images in each row group."""
    groups = np.arange(len(rows))
    return Order(np.arange(rows.sum()), np.repeat(groups, rows), groups, 1)


def shuffled(rows: Integers, seed: int) -> Order:
    """Shuffle row groups, then mix images within blocks.

    A function of its arguments alone: images are sorted by raw output of Philox, which is the same
    in every version of numpy.

    Args:
        rows: Number of images in each row group.
        seed: Key of Philox.
    """
    philox = np.random.Philox(key=seed)
    groups = np.argsort(philox.random_raw(len(rows)), kind="stable")
    per_block = max(1, round(BLOCK_IMAGES * len(rows) / rows.sum()))
    counts = rows[groups]
    first = (np.cumsum(rows) - rows)[groups] - (np.cumsum(counts) - counts)
    numbers = np.repeat(first, counts) + np.arange(rows.sum())
    blocks = np.repeat(np.arange(len(rows)) // per_block, counts)
    mixed = np.lexsort((philox.random_raw(len(numbers)), blocks))
    return Order(numbers[mixed], blocks, groups, per_block)


def batch_count(images: int, size: int, ranks: int = 1) -> int:
    """Number of batches of `size` images, the last one smaller, of each rank.

    Raises:
        BenchError: There are fewer images than ranks.

    >>> batch_count(103, 10), batch_count(103, 10, ranks=2)
    (11, 6)
    """
    if images < ranks:
        raise BenchError(f"{images} images cannot be divided among {ranks} ranks")
    return -(-(images // ranks) // size)


def batches(order: Order, size: int, seed: int = 0, rank: int = 0, ranks: int = 1) -> Plan:
    """Cut the rank's part of the sequence into batches, and these into pieces.

    Parts are disjoint, and their sizes differ by one at most; the extra image of a longer part goes
    into the rank's last batch, so that all ranks have equally many batches.

    Args:
        order: The sequence of all images.
        size: Batch size of one rank.
        seed: Seed of the augmentation.
        rank: Index of this process.
        ranks: Number of processes.
    """
    images = len(order.numbers)
    count = batch_count(images, size, ranks)
    start, stop = rank * images // ranks, (rank + 1) * images // ranks
    sizes = np.full(count, size)
    sizes[-1] = stop - start - size * (count - 1)
    pieces_of = -(-sizes // PIECE_IMAGES)
    pieces = np.concatenate([_divided(*pair) for pair in zip(sizes, pieces_of, strict=True)])
    lanes = np.arange(len(pieces)) % LANES
    by_lane = np.argsort(lanes, kind="stable")
    ends = np.empty_like(pieces)
    ends[by_lane] = start + np.cumsum(pieces[by_lane])
    planned = [
        Piece(order.numbers[end - length : end], seed, int(lane), _next_groups(order, end))
        for end, length, lane in zip(ends, pieces, lanes, strict=True)
    ]
    last = np.cumsum(pieces_of)
    return [planned[b - n : b] for b, n in zip(last, pieces_of, strict=True)]


def part(batch: list[Piece], rank: int, ranks: int, in_order: bool = False) -> list[Piece]:
    """The rank's part of a batch, in pieces; the parts of all ranks are the batch.

    Whole pieces where that makes equal parts: then each rank reads lanes of its own. Else the
    images in their order, in parts whose sizes differ by at most one.

    Args:
        batch: The whole batch.
        rank: Index of this process.
        ranks: Number of processes.
        in_order: Whether the parts are to be in the order of the batch in any case.
    """
    if ranks == 1:
        return batch
    if not (in_order or len(batch) % ranks or LANES % ranks):
        return [piece for piece in batch if piece.lane % ranks == rank]
    ends = np.cumsum([0, *(len(piece.numbers) for piece in batch)])
    first, last = rank * ends[-1] // ranks, (rank + 1) * ends[-1] // ranks
    cut = [
        piece._replace(numbers=piece.numbers[max(0, first - start) : max(0, last - start)])
        for start, piece in zip(ends, batch, strict=False)
    ]
    return [piece for piece in cut if len(piece.numbers)]


def pieces(numbers: Integers, seed: int) -> list[Piece]:
    """Cut a batch of arbitrary images into pieces that share no row groups in the cache."""
    none = np.arange(0)
    parts = np.array_split(numbers, -(-len(numbers) // PIECE_IMAGES))
    return [Piece(part, seed, 0, none) for part in parts]


def _divided(images: int, parts: int) -> Integers:
    """Sizes of `parts` parts of `images`, as equal as possible."""
    return (images + np.arange(parts)) // parts


def _next_groups(order: Order, place: int) -> Integers:
    return order.groups_at(place) if place < len(order.numbers) else order.groups[:0]
