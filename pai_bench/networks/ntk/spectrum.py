"""Eigenvalues of the tangent kernel of a network before it is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pai_bench.networks.ntk import gram
from pai_bench.sparsity.account import BATCH_NORMS
from pai_bench.sparsity.masks import Masks


def eigenvalues(
    network: nn.Module, images: Tensor, masks: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Compute the eigenvalues of the kernel of `images` (n, ...) with each other, in float64.

    It is the kernel of the network that would be trained: pruned weights are 0, and their
    directions are left out. Its batch norms divide by the statistics of these images, which are
    constants: so each image has a derivative of its own, and signals have the scale that they have
    in training. A copy of the network is used.

    Args:
        network: A network with outputs (n, k), with its initial weights.
        images: The images.
        masks: Parameter name -> bool mask; all weights are kept unless given.

    Returns:
        n x k eigenvalues, the largest first.

    Raises:
        BenchError: The network has no tangent kernel (pai_bench.networks.ntk.empirical_ntk).
    """
    scratch, images = copy.deepcopy(network).double(), images.double()
    kept = Masks.ones(network) if masks is None else Masks(dict(masks))
    kept.apply(scratch)
    with torch.no_grad():
        _normalise_by(scratch, images)
        kernel = gram(scratch, images, "dense" if masks is None else "masked", kept)
        n, _, k, _ = kernel.shape
        matrix = kernel.transpose(1, 2).reshape(n * k, n * k)
        values: Tensor = torch.linalg.eigvalsh(matrix)
        return values.flip(0)


def _normalise_by(network: nn.Module, images: Tensor) -> None:
    """Give the batch norms the statistics of `images`; the network is left in evaluation mode."""
    for module in network.modules():
        if isinstance(module, BATCH_NORMS) and module.track_running_stats:
            module.reset_running_stats()
            module.momentum = 1.0
    network.eval()
    for module in network.modules():
        if isinstance(module, BATCH_NORMS):
            module.train()
    network(images.clone())
    network.eval()
