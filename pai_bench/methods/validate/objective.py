"""Labels for the cross-entropy, and losses of the caller's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pai_bench.core.errors import BenchError

IGNORED = -100
"""Label that the cross-entropy of torch leaves out."""
Loss = Callable[[Tensor, Any], Tensor]


class Objective:
    """The loss that methods score by: the cross-entropy, or the caller's own, checked."""

    def __init__(self, loss: Loss | None) -> None:
        self.own, self.used = loss, False

    def __call__(self, logits: Tensor, labels: Any, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss. Raises BenchError if the caller's is no number with a gradient."""
        if self.own is None:
            return cross_entropy(logits, labels, label_smoothing=label_smoothing)
        self.used = True
        loss = self.own(logits, labels)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            shape = f" of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else ""
            raise BenchError(f"loss= returns a {type(loss).__name__}{shape}, not one number")
        if not loss.requires_grad:
            raise BenchError("loss= returns a number without gradient: it must use the logits")
        return loss.reshape(())

    def check_used(self, method: str) -> None:
        """Raise BenchError if the caller gave a loss, and the method has its own or none."""
        if self.own is not None and not self.used:
            raise BenchError(f"{method} does not score by a loss: loss= has no effect")


def class_labels(labels: Any, outputs: Tensor, where: str) -> Tensor:
    """Return labels as the cross-entropy of `outputs` (N, classes, ...) takes them.

    Integers of any type and bools become int64, a column (N, 1) a vector. Probabilities of the
    outputs' shape stay.

    Raises:
        BenchError: There is one output only, or labels are missing, of another kind or shape, out
            of range, or all ignored.
    """
    if outputs.dim() < 2:
        shape = tuple(outputs.shape)
        raise BenchError(f"the outputs have shape {shape}, not (N, classes): give loss= or output=")
    if outputs.shape[1] == 1:
        raise BenchError(
            "the network has one output, and the cross-entropy of one class is always 0: give "
            "loss=, such as one by binary_cross_entropy_with_logits"
        )
    if not isinstance(labels, Tensor):
        kind = type(labels).__name__
        raise BenchError(f"{where}: labels are a {kind}; this method needs a tensor of integers")
    if labels.is_floating_point() and labels.shape == outputs.shape:
        return labels.to(outputs.dtype)
    if labels.is_floating_point() or labels.is_complex():
        raise BenchError(f"{where}: labels are {labels.dtype}; give integers, or loss=")
    expected = outputs.shape[:1] + outputs.shape[2:]
    if labels.shape == (*expected, 1):
        labels = labels.squeeze(-1)
    if labels.shape != expected:
        shapes = f"{tuple(labels.shape)}, outputs {tuple(outputs.shape)}"
        raise BenchError(f"{where}: labels have shape {shapes}; they should be {tuple(expected)}")
    return _in_range(labels.long(), outputs.shape[1], where)


def _in_range(labels: Tensor, classes: int, where: str) -> Tensor:
    ignored = labels == IGNORED
    if bool(ignored.all()):
        raise BenchError(f"{where}: all labels are {IGNORED}, which the cross-entropy ignores")
    wrong = ~ignored & ((labels < 0) | (labels >= classes))
    if bool(wrong.any()):
        label = int(labels[wrong][0])
        raise BenchError(f"{where}: label {label} is out of range for {classes} outputs")
    return labels


def as_tensor(labels: Any, device: torch.device) -> Any:
    """Turn arrays and lists of numbers into tensors, on the device; others stay."""
    if isinstance(labels, Tensor):
        return labels.detach().to(device, copy=True)
    try:
        return torch.as_tensor(labels, device=device)
    except (TypeError, ValueError, RuntimeError):
        return labels
