"""Selection by operations whose shapes depend on no value, for devices that compile (XLA).

The masks are those of `select`. Numbers of weights are inputs of the graph, so that an
update that keeps another number is not compiled anew, and nothing is read back.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kth_smallest(flat: Tensor, k: int) -> Tensor:
    """Return the k-th smallest value of `flat` (N,), k from 1, in a tensor (1,)."""
    return flat.sort().values.index_select(0, _input(k - 1, flat))


def keep_largest(flat: Tensor, keep: int, first: Tensor | None = None) -> Tensor:
    """Mark the `keep` largest values of `flat` (N,), from none to all.

    Of values equal to the threshold, those marked in `first` are kept first, then the earlier
    positions.

    >>> keep_largest(torch.tensor([1.0, 3.0, 1.0, 2.0]), 3).tolist()
    [True, True, False, True]
    """
    threshold = kth_smallest(flat, flat.numel() - max(0, keep - 1))
    higher, ties = flat > threshold, flat == threshold
    return higher | (ties & (_places(ties, first) <= _input(keep, flat) - higher.sum()))


def _input(number: int, like: Tensor) -> Tensor:
    """A number in a tensor (1,): as a plain number 0 and 1 would be part of the graph."""
    return torch.tensor([number], device=like.device)


def _places(ties: Tensor, first: Tensor | None) -> Tensor:
    """Place of each tie among the ties, from 1."""
    if first is None:
        return _counted(ties)
    earlier = ties & first
    later = earlier.sum() + _counted(ties & ~first)
    return torch.where(first, _counted(earlier), later)


def _counted(marks: Tensor) -> Tensor:
    return marks.cumsum(0, dtype=torch.int32)
