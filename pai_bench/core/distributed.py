"""This process among those that train one network: its rank, its part of a batch, sums over all.

Without a process group, and within `alone`, there is one rank, and all of this does nothing. Every
rank must call a function of this module as often, and in the same order, as the others do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from pai_bench.core.errors import BenchError

Value = TypeVar("Value")
_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Let each rank do by itself what it does in this block, as if it were the only one."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def ranks() -> int:
    """Number of processes that train the network."""
    return dist.get_world_size() if _is_in_group() else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank() if _is_in_group() else 0


def part(count: int) -> slice:
    """This rank's part of so many images: parts are in order, their sizes differ by at most one.

    >>> part(10)
    slice(0, 10, None)
    """
    return slice(rank() * count // ranks(), (rank() + 1) * count // ranks())


def summed(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, which is no part of any graph."""
    if ranks() == 1:
        return tensor
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def average_gradients(network: nn.Module) -> None:
    """Replace the gradients of a network by their means over all ranks, in place."""
    if ranks() > 1:
        for parameter in network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad.div_(ranks())


def weighted(mean: Tensor, images: int, batch: int) -> Tensor:
    """Weight a mean over images, so that means over ranks add up to that over the whole batch.

    Args:
        mean: A scalar; NaN where there are no images.
        images: Number of images that it is the mean over: a piece of this rank's part of a batch.
        batch: Number of images of this rank's part.
    """
    if ranks() == 1 and images == batch:
        return mean
    precise = torch.promote_types(mean.dtype, torch.float32)
    everywhere = summed(torch.tensor(float(batch), dtype=precise, device=mean.device))
    weight = (images * ranks() / everywhere).to(mean.dtype)
    return (mean if images else mean.nan_to_num()) * weight


def total(number: float) -> float:
    """The sum of a number over all ranks; those of integers are exact."""
    return sum(gathered(number))


def gathered(value: Value) -> list[Value]:
    """The values that the ranks have, in their order: plain data."""
    if ranks() == 1:
        return [value]
    values: list[Value | None] = [None] * ranks()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def of_first(value: Value) -> Value:
    """The value that rank 0 has: plain data, tensors on the CPU."""
    if ranks() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by those of rank 0, in place."""
    if ranks() > 1:
        for tensor in tensors:
            # `data`: running statistics that a backward pass has saved may change all the same.
            whole = tensor.data.contiguous()
            dist.broadcast(whole, src=0)
            tensor.data.copy_(whole)


def check_same(what: str, digest: Callable[[], str]) -> None:
    """Raise BenchError, which begins with `what`, if ranks have different digests of it."""
    if ranks() == 1:
        return
    digests = gathered(digest())
    if len(set(digests)) > 1:
        seen = ", ".join(f"{value[:8]} on rank {number}" for number, value in enumerate(digests))
        raise BenchError(
            f"{what} differ between the devices that train one network ({seen}): what they are "
            "made of must be the same on all, random numbers come from `context.rng`"
        )


def wait_for_all() -> None:
    """Wait until every rank has come here."""
    gathered(None)


def _is_in_group() -> bool:
    return not _alone and dist.is_available() and dist.is_initialized()
