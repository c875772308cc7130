"""Batch norm in evaluation mode as products and sums, where it has no gradient otherwise."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def differentiable(device: torch.device) -> AbstractContextManager[object]:
    """Let batch norms in evaluation mode have gradients on an XLA device, in a `with` block.

    torch_xla 2.9 raises in their backward pass (in training mode it does not).
    """
    return _ByParts() if device.type == "xla" else nullcontext()


class _ByParts(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        called = batch_norm if func is functional.batch_norm else func
        return called(*args, **(kwargs or {}))


def batch_norm(
    inputs: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Compute what `torch.nn.functional.batch_norm` does; in evaluation mode by its formula."""
    if training or mean is None or variance is None:
        return functional.batch_norm(inputs, mean, variance, weight, bias, training, momentum, eps)
    shape = (1, -1, *(1 for _ in inputs.shape[2:]))
    scale = (variance + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    outputs = (inputs - mean.view(shape)) * scale.view(shape)
    return outputs if bias is None else outputs + bias.view(shape)
