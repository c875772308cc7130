"""Batches restricted to what a method declares to need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pai_bench.core.nested import map_tensors

Batches = Sequence[tuple[Any, Any]]
"""(images, labels), shaped (N, C, H, W) and (N,); labels are None for a method without them.

For text, sequences of symbols (N, 1, 1, L) and the next symbols (N, L). `pai_bench.prune` also
hands out integers as they are, and several inputs in a tuple or a dictionary.
"""


@runtime_checkable
class Redrawable(Protocol):
    """Batches that can be drawn again."""

    def afresh(self, number: int) -> Batches:
        """The same images in another order, augmented anew; a function of `number` alone."""


def afresh(batches: Batches, number: int) -> Batches:
    """Draw batches again, for a round of scoring; those that are just a list stay as they are.

    Args:
        batches: As a method gets them.
        number: Of the round.
    """
    return batches.afresh(number) if isinstance(batches, Redrawable) else batches


@runtime_checkable
class HasExtra(Protocol):
    """Batches with others beside them."""

    def extra_batch(self, number: int) -> tuple[Any, Any]:
        """Batch `number` of an order that no epoch uses."""


def extra_batch(batches: Batches, number: int) -> tuple[Any, Any]:
    """A batch for gradients between steps; a list has none of its own, and starts anew.

    Args:
        batches: As a method gets them.
        number: From 0.
    """
    if isinstance(batches, HasExtra):
        return batches.extra_batch(number)
    first: tuple[Any, Any] = batches[number % len(batches)]
    return first


class WrappedBatches(Sequence[tuple[Any, Any]]):
    """Batches that are made of others, one by one."""

    batches: Any


@runtime_checkable
class ResumableLoader(Protocol):
    """Training batches whose pass can be resumed."""

    epoch: int
    """Epoch of the next pass."""
    first: int
    """Batch that the next pass starts with."""

    def state_dict(self) -> Mapping[str, Any]:
        """Where the current pass is."""

    def load_state_dict(self, state: Any) -> None:
        """Resume the next pass there."""


def loader_of(batches: Any) -> ResumableLoader:
    """The training batches of a cell, without what restricts or corrupts them.

    Args:
        batches: As a method that trains to score gets them in a cell.
    """
    inner = batches
    while isinstance(inner, WrappedBatches):
        inner = inner.batches
    loader: ResumableLoader = inner
    return loader


def first_of(batches: Any) -> int:
    """Number of the batch that the next pass starts with: 0, unless it is resumed."""
    loader = loader_of(batches)
    return loader.first if isinstance(loader, ResumableLoader) else 0


def next_epoch(batches: Any) -> int:
    """Epoch of the next whole pass, on which order and augmentation depend; 0 for a list."""
    loader = loader_of(batches)
    return loader.epoch + bool(loader.first) if isinstance(loader, ResumableLoader) else 0


def start_epoch(batches: Any, epoch: int) -> None:
    """Let the next pass be a whole one, of this epoch; all passes over a list are the same."""
    loader = loader_of(batches)
    if isinstance(loader, ResumableLoader):
        loader.epoch, loader.first = epoch, 0


@dataclass(frozen=True)
class RestrictedBatches(WrappedBatches):
    """Lazily restricted batches: all of them at once may not fit in memory."""

    batches: Batches
    dtype: torch.dtype | None
    """Dtype of the network's weights, to which images are converted; None: they stay."""
    data: bool
    """False: images are zeros of their shape."""
    labels: bool
    """False: labels are None."""
    copies: bool
    """True: images are copies, as the network may change them in place and they are used again."""
    on_batch: Callable[[int, int], None]
    """Called with the index of each batch of a pass, from 0, and the number of batches."""

    def afresh(self, number: int) -> Batches:
        """The same batches drawn again, restricted alike."""
        return replace(self, batches=afresh(self.batches, number))

    def extra_batch(self, number: int) -> tuple[Any, Any]:
        """An extra batch, restricted alike."""
        return self._restricted(*extra_batch(self.batches, number))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        return self._restricted(*self.batches[number])

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for number, (images, labels) in enumerate(self.batches, first_of(self)):
            self.on_batch(number, len(self.batches))
            yield self._restricted(images, labels)

    def _restricted(self, images: Any, labels: Any) -> tuple[Any, Any]:
        return map_tensors(images, self._pixels), labels if self.labels else None

    def _pixels(self, images: Tensor) -> Tensor:
        if not self.data:
            return torch.zeros_like(images, dtype=self.dtype)
        return images if self.dtype is None else images.to(self.dtype, copy=self.copies)
