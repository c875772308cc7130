"""Batches in pieces, where a whole one needs too much memory: their gradients add up to its own."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

Batch = tuple[Tensor, Tensor]


class Pieces:
    """How each batch of a device is cut.

    Args:
        count: Number of pieces.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.current: int | None = None
        """Number of the piece that is passed through the network; None: a whole batch is."""

    def of(self, batch: Batch) -> Iterator[Batch]:
        """Yield the pieces of a batch, whose sizes differ by at most one."""
        if self.count == 1:
            yield batch
            return
        images, labels = batch
        ends = [number * len(labels) // self.count for number in range(self.count + 1)]
        try:
            for number in range(self.count):
                self.current = number
                piece = slice(ends[number], ends[number + 1])
                yield images[piece], labels[piece]
        finally:
            self.current = None
