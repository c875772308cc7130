"""What is left of a fully connected network when dead neurons are removed (RigL, table 2)."""

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
    """Remove neurons that nothing enters or leaves, over and over, and count what is left.

    `masks` are those of linear layers in a row, (out, in) each. Inputs that nothing reads are
    removed too; outputs stay. The published sizes and inference FLOPs of all four methods of the
    table come out of this count, from the units alone for the dense ones: the number of kept
    weights of RigL's own networks is not published, 6,309 and 3,080 are what gives its bytes.
    Its training FLOPs did not come out of any reading of its formula.

    Raises BenchError for masks that are no such row.
    """
    left = compact(masks)
    costs = {name: LayerCost(mask.numel(), len(mask), places=1) for name, mask in left.items()}
    first = next(iter(left.values()))
    return Architecture(
        units=(first.shape[1], *(len(mask) for mask in left.values())),
        kept=left.kept,
        total=left.total,
        flops=2.0 * left.kept,
        bytes=rigl_bytes(costs, left),
    )


def compact(masks: Mapping[str, Tensor]) -> Masks:
    """Masks between the neurons that are left, of the smaller layers' shapes."""
    rows = list(masks.values())
    if not rows or any(mask.dim() != 2 for mask in rows):
        raise BenchError("only the masks of linear layers have an architecture of neurons")
    for (reader, after), before in zip(list(masks.items())[1:], rows, strict=False):
        if after.shape[1] != len(before):
            raise BenchError(f"{reader} reads {after.shape[1]} units, there are {len(before)}")
    alive = _alive(rows)
    left = [mask[out][:, into] for mask, (into, out) in zip(rows, pairwise(alive), strict=True)]
    return Masks(dict(zip(masks, left, strict=True)))


def _alive(masks: list[Tensor]) -> list[Tensor]:
    """Which units are left: inputs, each hidden layer, outputs."""
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
