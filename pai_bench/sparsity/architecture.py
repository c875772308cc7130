"""The architecture of a fully connected network without its dead neurons (RigL, table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.account import LayerCost, rigl_bytes
from pai_bench.sparsity.masks import Masks
from pai_bench.sparsity.perceptron import Architecture


def final_architecture(masks: Mapping[str, Tensor]) -> Architecture:
    """Remove neurons without inputs or outputs, repeatedly, and count the compacted network.

    Inputs without outgoing weights are removed too; outputs stay. This count reproduces the
    published sizes and inference FLOPs of all four methods of the table, from the units alone for
    the dense ones: the number of kept weights of RigL's own networks is not published, 6,309 and
    3,080 are what gives its bytes. No reading of its formula reproduced its training FLOPs.

    Args:
        masks: Masks (out, in) of successive linear layers, from input to output.

    Raises:
        BenchError: The masks are not those of successive linear layers.
    """
    compacted = compact(masks)
    costs = {name: LayerCost(mask.numel(), len(mask), places=1) for name, mask in compacted.items()}
    first_layer = next(iter(compacted.values()))
    return Architecture(
        units=(first_layer.shape[1], *(len(mask) for mask in compacted.values())),
        kept=compacted.kept,
        total=compacted.total,
        flops=2.0 * compacted.kept,
        bytes=rigl_bytes(costs, compacted),
    )


def compact(masks: Mapping[str, Tensor]) -> Masks:
    """Masks of the compacted network, of its smaller layers' shapes."""
    tensors = list(masks.values())
    if not tensors or any(mask.dim() != 2 for mask in tensors):
        raise BenchError("only the masks of linear layers have an architecture of neurons")
    for (reader, after), before in zip(list(masks.items())[1:], tensors, strict=False):
        if after.shape[1] != len(before):
            raise BenchError(f"{reader} reads {after.shape[1]} units, there are {len(before)}")
    alive = _alive(tensors)
    compacted = [
        mask[out][:, into] for mask, (into, out) in zip(tensors, pairwise(alive), strict=True)
    ]
    return Masks(dict(zip(masks, compacted, strict=True)))


def _alive(masks: list[Tensor]) -> list[Tensor]:
    """Mark the live units: bool tensors for inputs, each hidden layer, outputs."""
    alive = [torch.ones(masks[0].shape[1], dtype=torch.bool)]
    alive += [torch.ones(len(mask), dtype=torch.bool) for mask in masks]
    while True:
        before = sum(int(units.sum()) for units in alive)
        for index, mask in enumerate(masks):
            alive[index] &= mask[alive[index + 1]].any(0)
            if index + 1 < len(masks):
                alive[index + 1] &= mask[:, alive[index]].any(1)
        if sum(int(units.sum()) for units in alive) == before:
            return alive
