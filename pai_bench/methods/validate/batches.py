"""Batches of the caller as methods expect them: checked, uniform, and copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pai_bench.core.errors import BenchError
from pai_bench.core.nested import map_tensors, tensors_of
from pai_bench.methods.validate.objective import Loss, as_tensor, class_labels
from pai_bench.methods.validate.probe import probe
from pai_bench.training.restricted_batches import afresh


@dataclass(frozen=True)
class Needs:
    """What is asked of batches."""

    data: bool
    labels: bool
    loss: Loss | None
    """A loss of the caller's own, which takes labels of any kind."""


class CheckedBatches(Sequence[tuple[Any, Any]]):
    """(inputs, labels), checked when they are handed out; the first also runs the network once.

    Nothing is looked at before a method asks for it: those that need no batches take anything.
    Floating-point inputs get the dtype of the network's first parameter. Integers stay, unless the
    network takes only numbers of its own kind, as with images of bytes.

    Args:
        source: Batches that can be read more than once: a list, or a DataLoader.
        network: The copy that methods work on.
        original: The caller's network.
        needs: What is asked of batches.
    """

    def __init__(self, source: Any, network: nn.Module, original: nn.Module, needs: Needs) -> None:
        self._source, self._needs = _readable(source), needs
        self._network, self._original = network, original
        first = next(network.parameters())
        self._dtype, self._device = first.dtype, first.device
        self._outputs: Tensor | None = None
        self._integers = True

    def afresh(self, number: int) -> CheckedBatches:
        """The caller's batches drawn again, if they can be, and checked alike."""
        again = CheckedBatches(
            afresh(self._source, number), self._network, self._original, self._needs
        )
        again._outputs, again._integers = self._outputs, self._integers
        return again

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        if hasattr(self._source, "__getitem__"):
            return self._checked(self._source[number], number)
        for index, batch in enumerate(self._source):
            if index == number:
                return self._checked(batch, number)
        raise IndexError(number)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for number, batch in enumerate(self._source):
            yield self._checked(batch, number)

    def _checked(self, batch: Any, number: int) -> tuple[Any, Any]:
        where = f"batch {number}"
        inputs, labels = _pair(batch, where)
        with torch.inference_mode(False):
            return self._inputs(inputs, where), self._labels(labels, where)

    def _inputs(self, given: Any, where: str) -> Any:
        inputs = map_tensors(_as_tensors(given, where), self._own)
        self._check_values(inputs, where)
        if self._outputs is None:
            self._first_pass(inputs)
        return inputs if self._integers else map_tensors(inputs, self._as_float)

    def _own(self, tensor: Tensor) -> Tensor:
        """Copy a tensor of the caller's, without graph, to the device of the network."""
        own = tensor.detach().clone().to(self._device)
        return own.to(self._dtype) if own.is_floating_point() else own

    def _as_float(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._dtype)

    def _first_pass(self, inputs: Any) -> None:
        """Run the network; where it does not take integers, with numbers of its own dtype."""
        try:
            self._outputs = probe(self._network, self._original, inputs)
        except BenchError:
            if all(tensor.is_floating_point() for tensor in tensors_of(inputs)):
                raise
            try:
                as_float = map_tensors(inputs, self._as_float)
                self._outputs = probe(self._network, self._original, as_float)
            except BenchError:
                self._outputs = None
            if self._outputs is None:
                raise
            self._integers = False

    def _check_values(self, inputs: Any, where: str) -> None:
        tensors = list(tensors_of(inputs))
        if not tensors:
            raise BenchError(f"{where}: there is no tensor among the inputs")
        for tensor in tensors:
            if tensor.dim() == 0 or tensor.numel() == 0:
                raise BenchError(f"{where} is empty: inputs have shape {tuple(tensor.shape)}")
            real = self._needs.data and tensor.is_floating_point()
            if real and tensor.layout is torch.strided and not bool(tensor.isfinite().all()):
                raise BenchError(f"{where}: inputs are not finite")

    def _labels(self, labels: Any, where: str) -> Any:
        if not self._needs.labels:
            return None
        labels = as_tensor(labels, self._device)
        if self._needs.loss is not None:
            return labels
        assert self._outputs is not None
        size = len(labels) if isinstance(labels, Tensor) and labels.dim() else len(self._outputs)
        like = self._outputs[:1].expand(size, *self._outputs.shape[1:])
        return class_labels(labels, like, where)


def _readable(source: Any) -> Any:
    """Return what can be read again and again. Raises BenchError for what cannot."""
    if source is None:
        return []
    if isinstance(source, Tensor | np.ndarray | str | Mapping):
        kind = type(source).__name__
        raise BenchError(f"batches must be a list of pairs (inputs, labels), not a {kind}")
    if isinstance(source, tuple) and source and isinstance(source[0], Tensor | np.ndarray):
        raise BenchError("batches must be a list of pairs: write [(inputs, labels)]")
    if hasattr(source, "__next__") or not hasattr(source, "__iter__"):
        kind = type(source).__name__
        raise BenchError(f"batches is a {kind}, which cannot be read again and again: pass a list")
    try:
        len(source)
    except TypeError as error:
        raise BenchError(f"batches has no length: pass a list ({error})") from None
    return source


def _pair(batch: Any, where: str) -> tuple[Any, Any]:
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    count = f" of {len(batch)}" if isinstance(batch, Sized) else ""
    raise BenchError(
        f"{where} must be a pair (inputs, labels), got a {type(batch).__name__}{count}; several "
        "inputs go into one tuple or dictionary, labels may be None"
    )


def _as_tensors(value: Any, where: str) -> Any:
    """Turn arrays into tensors, in tuples, lists and dictionaries. Raises BenchError for others."""
    if isinstance(value, Tensor):
        if value.device.type == "meta":
            raise BenchError(f"{where}: inputs are on the meta device, without values")
        return value
    if isinstance(value, np.ndarray):
        try:
            return torch.from_numpy(value.copy())
        except TypeError as error:
            raise BenchError(f"{where}: inputs cannot be a tensor: {error}") from None
    if isinstance(value, Mapping):
        return {key: _as_tensors(item, where) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_as_tensors(item, where) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise BenchError(f"{where}: inputs hold a {type(value).__name__}; give tensors or arrays")
