"""Spectrum of a masked network's tangent kernel, and its distance from the dense one's."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pai_bench.networks.ntk import Tangent, empirical_ntk
from pai_bench.sparsity.masks import Masks


@dataclass(frozen=True)
class Spectrum:
    """Spectrum of the kernel of n images with each other, a symmetric matrix of n x k rows."""

    eigenvalues: Tensor
    """Ascending."""
    distance: float
    """Frobenius norm of its difference from the dense network's, over the norm of that."""

    @property
    def trace(self) -> float:
        """Sum of the eigenvalues."""
        return float(self.eigenvalues.sum())

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue; infinite where rounding hides the smallest."""
        largest, smallest = float(self.eigenvalues[-1]), float(self.eigenvalues[0])
        rounding = len(self.eigenvalues) * torch.finfo(self.eigenvalues.dtype).eps * largest
        return largest / smallest if smallest > rounding else math.inf


def spectrum(
    network: nn.Module, masks: Mapping[str, Tensor], images: Tensor, tangent: Tangent = "masked"
) -> Spectrum:
    """Compute the spectrum of the masked network's kernel on `images` (n, ...), in float64.

    With `tangent="masked"` it is the kernel of the network that would be trained; with "dense",
    pruned weights are 0 but their directions count, as in NTT. A copy of the network is used, in
    evaluation mode.
    """
    scratch, images = copy.deepcopy(network).double().eval(), images.double()
    with torch.no_grad():
        dense = _as_matrix(empirical_ntk(scratch, images, images))
        Masks(dict(masks)).apply(scratch)
        masked = _as_matrix(empirical_ntk(scratch, images, images, tangent, masks))
        distance = float((masked - dense).norm() / dense.norm())
        return Spectrum(torch.linalg.eigvalsh(masked), distance)


def _as_matrix(kernel: Tensor) -> Tensor:
    """(n, n, k, k) -> (n k, n k)."""
    n, _, k, _ = kernel.shape
    return kernel.transpose(1, 2).reshape(n * k, n * k)
