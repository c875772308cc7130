"""Batches restricted to what a method declares to need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Batches = Sequence[tuple[Tensor, Any]]
"""(images, labels), shaped (N, C, H, W) and (N,); labels are None for a method without them.

For text, sequences of symbols (N, 1, 1, L) and the next symbols (N, L).
"""


@dataclass(frozen=True)
class RestrictedBatches(Sequence[tuple[Tensor, Any]]):
    """Lazily restricted batches: all of them at once may not fit in memory."""

    batches: Batches
    dtype: torch.dtype
    """Dtype of the network's weights, to which images are converted."""
    data: bool
    """False: images are zeros of their shape."""
    labels: bool
    """False: labels are None."""
    on_batch: Callable[[int, int], None]
    """Called with the index of each batch of a pass, from 0, and the number of batches."""

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        return self._restricted(*self.batches[number])

    def __iter__(self) -> Iterator[tuple[Tensor, Any]]:
        for number, (images, labels) in enumerate(self.batches):
            self.on_batch(number, len(self.batches))
            yield self._restricted(images, labels)

    def _restricted(self, images: Tensor, labels: Any) -> tuple[Tensor, Any]:
        pixels = images.to(self.dtype) if self.data else torch.zeros_like(images, dtype=self.dtype)
        return pixels, labels if self.labels else None
