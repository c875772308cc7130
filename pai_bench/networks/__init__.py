"""The papers' networks, and what is computed of any network (imports data and below)."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from pai_bench.config.schema import Network
from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError, did_you_mean, first_line
from pai_bench.networks import init
from pai_bench.sparsity.masks import Layer, check_prunable, layers

Shape = tuple[int, int, int]
"""Channels, height, width of one picture."""


def build(settings: Network, shape: Shape, classes: int) -> nn.Module:
    """Call the builder with (shape, classes), draw the initial weights, set layers apart as dense.

    The builder is found from the current folder too. Weights come from torch's global generator.
    Raises BenchError for whatever goes wrong with the builder, and for an initialisation or a
    pattern of dense layers that matches nothing.
    """
    draw = init.named(settings.init)
    where = f"network builder {settings.build}: "
    try:
        network = import_utils.resolve(settings.build)(shape, classes)
        if not isinstance(network, nn.Module):
            raise TypeError(f"returned {type(network).__name__}, not a torch.nn.Module")
        draw(network)
        found = layers(network)
    except Exception as error:
        raise BenchError(f"{where}{type(error).__name__}: {first_line(error)}") from error
    for pattern in settings.dense:
        _set_apart(found, pattern, where)
    try:
        check_prunable(network)
    except BenchError as error:
        raise BenchError(f"{where}{error}") from None
    return network


def _set_apart(found: list[tuple[str, Layer]], pattern: str, where: str) -> None:
    matched = [layer for name, layer in found if fnmatchcase(name, pattern)]
    if not matched:
        hint = did_you_mean(pattern, [name for name, _ in found])
        raise BenchError(f'{where}dense: no conv or linear layer is called "{pattern}"; {hint}')
    for layer in matched:
        layer.prunable = False  # type: ignore[assignment]
