"""The images of a search: batches of its own size, pass after pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pai_bench.training.restricted_batches import Batches

SAMPLE = 128
"""Images of the initial masks by logit-SNIP; the first of them show how far a search is."""


class Feed:
    """Training images without labels, in batches of `size` images, whatever size they come in.

    What does not fill a batch is dropped at the end of a pass, and the next pass has its own order
    (section 1.5 of the specification). A data set smaller than a batch is one batch.
    """

    def __init__(self, batches: Batches, size: int) -> None:
        self._batches = batches
        self.images, self.sample = _look_at(batches)
        self.size = min(size, self.images)

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield from self._one_pass()

    def _one_pass(self) -> Iterator[Tensor]:
        left: list[Tensor] = []
        for images, _ in self._batches:
            left.append(images)
            if sum(map(len, left)) >= self.size:
                *whole, rest = _split(torch.cat(left) if len(left) > 1 else images, self.size)
                yield from whole
                left = [rest] if len(rest) else []


def _split(images: Tensor, size: int) -> list[Tensor]:
    """Whole batches of `size` images, and last what is left, be it nothing."""
    whole = len(images) // size * size
    return [*images[:whole].split(size), images[whole:]]


def _look_at(batches: Batches) -> tuple[int, Tensor]:
    """Number of images of a pass, and the first of them."""
    count, sample = 0, []
    for images, _ in batches:
        if count < SAMPLE:
            sample.append(images)
        count += len(images)
    return count, torch.cat(sample)[:SAMPLE] if sample else torch.empty(0)
