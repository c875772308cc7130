"""The papers' networks, initialisations, sizes and tangent kernels (imports data and below)."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from pai_bench.config.schema import Network
from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError, did_you_mean, first_line
from pai_bench.networks import init
from pai_bench.sparsity.masks import Layer, layers
from pai_bench.sparsity.ownership import check_prunable

Shape = tuple[int, int, int]
"""Channels, height, width of one image."""


def build(settings: Network, shape: Shape, classes: int) -> nn.Module:
    """Build a network: call the builder, draw the initial weights, mark the dense layers.

    Args:
        settings: The network's entry in benchmark.yaml. Its builder is looked up in the current
            folder too, and called with (shape, classes).
        shape: Shape of one input.
        classes: Number of classes.

    Returns:
        The network, its weights drawn from torch's global generator.

    Raises:
        BenchError: The builder fails or returns no usable network, the initialisation is unknown,
            or a pattern of dense layers matches nothing.
    """
    initialise = init.named(settings.init)
    where = f"network builder {settings.build}: "
    try:
        network = import_utils.resolve(settings.build)(shape, classes)
        if not isinstance(network, nn.Module):
            raise TypeError(f"returned {type(network).__name__}, not a torch.nn.Module")
        initialise(network)
        network_layers = layers(network)
    except Exception as error:
        raise BenchError(f"{where}{type(error).__name__}: {first_line(error)}") from error
    for pattern in settings.dense:
        _mark_dense(network_layers, pattern, where)
    try:
        check_prunable(network)
    except BenchError as error:
        raise BenchError(f"{where}{error}") from None
    return network


def _mark_dense(candidates: list[tuple[str, Layer]], pattern: str, where: str) -> None:
    matched = [layer for name, layer in candidates if fnmatchcase(name, pattern)]
    if not matched:
        hint = did_you_mean(pattern, [name for name, _ in candidates])
        raise BenchError(f'{where}dense: no conv or linear layer is called "{pattern}"; {hint}')
    for layer in matched:
        layer.prunable = False  # type: ignore[assignment]
