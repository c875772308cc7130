"""Batches of images for a search, of its own batch size, pass after pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pai_bench.core.xla import mark_step
from pai_bench.training.restricted_batches import Batches

SAMPLE = 128
"""Number of images for initial masks by logit-SNIP, and for the history of a search."""


class Feed:
    """Training images without labels, in batches of `size` images, endlessly.

    An incomplete batch at the end of a pass is dropped, and the next pass has its own order, as in
    the authors' code. A data set smaller than a batch is one batch.

    Args:
        batches: (images, labels) in any batch size; an iteration is one pass.
        size: Number of images in a batch.
    """

    def __init__(self, batches: Batches, size: int) -> None:
        self._batches = batches
        self.images, self.sample = _count(batches)
        self.size = min(size, self.images)

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield from self._one_pass()

    def _one_pass(self) -> Iterator[Tensor]:
        pending: list[Tensor] = []
        for images, _ in self._batches:
            pending.append(images)
            if sum(map(len, pending)) >= self.size:
                joined = torch.cat(pending) if len(pending) > 1 else images
                *whole, rest = _split(joined, self.size)
                mark_step(joined.device)  # Batches at other offsets would make other graphs.
                yield from whole
                pending = [rest] if len(rest) else []


def _split(images: Tensor, size: int) -> list[Tensor]:
    """Whole batches of `size` images, then the rest, which may be empty."""
    whole = len(images) // size * size
    return [*images[:whole].split(size), images[whole:]]


def _count(batches: Batches) -> tuple[int, Tensor]:
    """Number of images in a pass, and the first `SAMPLE` of them."""
    count, sample = 0, []
    for images, _ in batches:
        if count < SAMPLE:
            sample.append(images)
        count += len(images)
    return count, torch.cat(sample)[:SAMPLE] if sample else torch.empty(0)
