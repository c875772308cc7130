"""How long a training is, and how large its batches are."""

from __future__ import annotations

from typing import NamedTuple


class TrainingLength(NamedTuple):
    """Steps of a training, on batches that are equally large but for the last one of an epoch."""

    steps: int
    images: int
    """Training images of an epoch."""
    batch_size: int

    def batch(self, number: int) -> int:
        """Images of the batch with this number, counted over all epochs.

        >>> [TrainingLength(4, 10, 4).batch(number) for number in range(4)]
        [4, 4, 2, 4]
        """
        position = number % -(-self.images // self.batch_size)
        return min(self.batch_size, self.images - position * self.batch_size)
