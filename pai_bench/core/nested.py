"""Inputs of a network as tensors in tuples, lists and dictionaries, or a single tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor


def map_tensors(value: Any, call: Callable[[Tensor], Any]) -> Any:
    """Replace every tensor of a nested value; whatever else is in it stays.

    >>> import torch
    >>> map_tensors({"ids": torch.ones(3), "causal": True}, len)
    {'ids': 3, 'causal': True}
    """
    if isinstance(value, Tensor):
        return call(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(item, call) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)([map_tensors(item, call) for item in value])
    return value


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of a nested value, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_of(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_of(item)
