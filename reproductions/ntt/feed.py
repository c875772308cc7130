"""Batches of images for a search, of its own batch size, pass after pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pai_bench.core.xla import mark_step
from pai_bench.training.restricted_batches import Batches, first_of, loader_of

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
        self._whole: list[Tensor] = []
        self._rest = self.sample[:0]

    def batch_like(self) -> Tensor:
        """A batch to count FLOPs on: the sample, repeated until it is as large as any other."""
        return self.sample[torch.arange(self.size) % len(self.sample)]

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield from self._one_pass()

    def _one_pass(self) -> Iterator[Tensor]:
        yield from self._ready()
        if not first_of(self._batches):
            self._rest = self._rest[:0]
        for images, _ in self._batches:
            self._add(images)
            yield from self._ready()

    def _ready(self) -> Iterator[Tensor]:
        while self._whole:
            yield self._whole.pop(0)

    def _add(self, images: Tensor) -> None:
        joined = torch.cat([self._rest, images]) if len(self._rest) else images
        *self._whole, self._rest = _split(joined, self.size)
        if self._whole:
            mark_step(joined.device)  # Batches at other offsets would make other graphs.

    def state_dict(self) -> dict[str, Any]:
        """Where the pass is, and the images that it has got and not yet given away."""
        images = torch.cat([*self._whole, self._rest])
        return {"batches": loader_of(self._batches).state_dict(), "images": images}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        loader_of(self._batches).load_state_dict(state["batches"])
        images = state["images"].to(self.sample.device)
        *self._whole, self._rest = _split(images, self.size)


def _split(images: Tensor, size: int) -> list[Tensor]:
    """Whole batches of `size` images, then the rest, which may be empty."""
    whole = len(images) // size * size
    batches = list(images[:whole].split(size)) if whole else []
    return [*batches, images[whole:]]


def _count(batches: Batches) -> tuple[int, Tensor]:
    """Number of images in a pass, and the first `SAMPLE` of them."""
    count, sample = 0, []
    for images, _ in batches:
        if count < SAMPLE:
            sample.append(images)
        count += len(images)
    return count, torch.cat(sample)[:SAMPLE] if sample else torch.empty(0)
