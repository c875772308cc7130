"""Activations that are computed again in the backward pass, where they take much memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

LARGE = 64 * 3 * 224 * 224
"""Values of a batch of inputs above which activations are not kept."""


def is_large(inputs: object) -> bool:
    """Whether a batch of inputs is as large as those of ImageNet are."""
    return isinstance(inputs, Tensor) and inputs.numel() > LARGE


def recompute_activations(network: nn.Module) -> None:
    """Let a network keep only what goes from block to block; all else is computed twice.

    Blocks are what nested `nn.Sequential` consist of; those of others than PyTorch and this project
    keep their activations, as do those that work in place: they may change what they are given. So
    does a ReLU, which keeps nothing but what it passes on.
    What comes out, and all gradients, are the same bit by bit. The class of the blocks is replaced:
    their parameters, buffers and names stay.
    """
    found = list(blocks(network))
    for block in found if len(found) > 1 else ():
        if _is_known(block):
            block.__class__ = _recomputing(type(block))  # type: ignore[arg-type]


def keep_activations(network: nn.Module) -> None:
    """Undo `recompute_activations`."""
    for module in network.modules():
        if type(module).__module__ == __name__:
            module.__class__ = type(module).__bases__[0]


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """List what nested `nn.Sequential` consist of, in the order of a pass."""
    if type(module) is nn.Sequential:
        for child in module:
            yield from blocks(child)
    else:
        yield module


def _is_known(block: nn.Module) -> bool:
    place = type(block).__module__
    if place == __name__ or isinstance(block, nn.ReLU):
        return False
    ours = place.startswith(("torch.nn.", "pai_bench.networks."))
    return ours and not any(getattr(module, "inplace", False) for module in block.modules())


@cache
def _recomputing(kind: type[nn.Module]) -> Any:
    def forward(self: nn.Module, *inputs: Any) -> Any:
        return checkpoint(kind.forward, self, *inputs, use_reentrant=False)

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": __name__})
