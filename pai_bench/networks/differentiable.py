"""Layers by operations that have all derivatives, where torch_xla 2.9 lacks some.

Its batch norm in evaluation mode raises in the backward pass; the second derivative of its max
pooling is 0 without a word.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

from pai_bench.core.errors import BenchError

Sizes = int | tuple[int, ...]


def on(device: torch.device) -> AbstractContextManager[object]:
    """Let layers have all derivatives on an XLA device, in a `with` block."""
    return _ByParts() if device.type == "xla" else nullcontext()


class _ByParts(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _BY_PARTS.get(func, func)(*args, **(kwargs or {}))


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


def max_pool2d(
    inputs: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """Compute what `torch.nn.functional.max_pool2d` does, without its indices.

    Raises:
        BenchError: Windows that reach beyond the image are asked for.
    """
    if ceil_mode:
        raise BenchError("max pooling with ceil_mode cannot be scored on an XLA device")
    high, wide = _pair(padding)
    windows = functional.pad(inputs, (wide, wide, high, high), value=-torch.inf)
    sizes = zip(
        _pair(kernel_size), _pair(stride or kernel_size), _pair(dilation), (-2, -1), strict=True
    )
    for size, hop, step, axis in sizes:
        axis = inputs.dim() + axis
        windows = windows.unfold(axis, step * (size - 1) + 1, hop)[..., ::step]
    return windows.flatten(-2).max(-1).values


_BY_PARTS = {functional.batch_norm: batch_norm, functional.max_pool2d: max_pool2d}
