"""The papers' networks. Each builder takes (input shape, classes) and draws its own weights."""

from __future__ import annotations

import importlib

from torch import nn

from pai_bench.errors import BenchError


def build(target: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Call the builder named `module:function` with the shape (C, H, W) and class count.

    Raises BenchError when there is no such function.
    """
    module, _, function = target.partition(":")
    try:
        builder = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise BenchError(f"network builder {target}: {error}") from error
    network: nn.Module = builder(shape, classes)
    return network
