"""Batches as a method may see them: what it declares not to need is withheld."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Batches = Sequence[tuple[Tensor, Any]]
"""Images (N, C, H, W) and labels (N,), or None for labels that a method does without.

Of text, sequences of symbols (N, 1, 1, L) and the symbols that follow (N, L).
"""


@dataclass(frozen=True)
class RestrictedBatches(Sequence[tuple[Tensor, Any]]):
    """Batches without what is withheld, made when asked for: they may not all fit in memory."""

    batches: Batches
    dtype: torch.dtype
    """Type of the network's weights, which images are given."""
    data: bool
    """False: images are zeros of their shape."""
    labels: bool
    """False: labels are None."""
    on_batch: Callable[[int, int], None]
    """Called with the number of each batch of a pass, from 0, and how many there are."""

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
        seen = images.to(self.dtype) if self.data else torch.zeros_like(images, dtype=self.dtype)
        return seen, labels if self.labels else None
