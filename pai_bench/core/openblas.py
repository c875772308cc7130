"""Products of matrices on the CPU by NumPy's OpenBLAS, with the signatures of PyTorch's operators.

What NumPy has no type for (bfloat16), and what is empty, is left to PyTorch.
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch import library as operators

_TYPES = (torch.float32, torch.float64)


@cache
def put_in_place() -> operators.Library:
    """Put these products in the place of PyTorch's own for tensors on the CPU, in this process."""
    library = operators.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning only once for all operators")
        for product in (mm, addmm, bmm, baddbmm):
            library.impl(product.__name__, product, "CPU")
    return library


def mm(left: Tensor, right: Tensor) -> Tensor:
    """Compute `left @ right` of two matrices (`aten::mm`)."""
    if _is_ours(left, right):
        return _multiplied(left, right)
    return torch.mm(left, right, out=_empty(left, right))


def addmm(
    added: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Compute `beta * added + alpha * (left @ right)` (`aten::addmm`)."""
    if _is_ours(left, right):
        return _added(added, _multiplied(left, right), beta, alpha)
    out = _empty(left, right)
    return torch.addmm(added, left, right, beta=beta, alpha=alpha, out=out)


def bmm(left: Tensor, right: Tensor) -> Tensor:
    """Compute the products of two stacks of matrices (`aten::bmm`)."""
    if _is_ours(left, right):
        return _multiplied(left, right)
    return torch.bmm(left, right, out=_empty(left, right))


def baddbmm(
    added: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Compute `beta * added + alpha * (left @ right)` of stacks (`aten::baddbmm`)."""
    if _is_ours(left, right):
        return _added(added, _multiplied(left, right), beta, alpha)
    out = _empty(left, right)
    return torch.baddbmm(added, left, right, beta=beta, alpha=alpha, out=out)


def _empty(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(*left.shape[:-1], right.shape[-1])


def _is_ours(left: Tensor, right: Tensor) -> bool:
    """Whether NumPy can multiply these; where shapes or types clash, PyTorch has the words."""
    return (
        left.dtype in _TYPES
        and left.dtype == right.dtype
        and left.shape[-1] == right.shape[-2]
        and left.shape[:-2] == right.shape[:-2]
        and left.numel() > 0
        and right.numel() > 0
    )


def _multiplied(left: Tensor, right: Tensor) -> Tensor:
    product = _empty(left, right)
    with np.errstate(all="ignore"):  # what is not finite is the network's to tell
        np.matmul(_array(left), _array(right), out=product.numpy())
    return product


def _array(matrices: Tensor) -> np.ndarray:
    """View a tensor as an array that BLAS can read, or copy it."""
    rows, columns = matrices.stride()[-2:]
    if 1 not in (rows, columns) or 0 in (rows, columns):
        matrices = matrices.contiguous()
    return matrices.detach().resolve_neg().numpy()


def _added(added: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    if alpha != 1:
        product *= alpha
    return product.add_(added, alpha=beta) if beta else product
