"""Structured selection: from scores of units (filters) to masks that keep or drop each one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import Masks
from pai_bench.sparsity.select import kept_count

Shapes = Mapping[str, tuple[int, ...]]
"""Weight name -> shape."""


def keep_units(
    scores: Mapping[str, Tensor],
    shapes: Shapes,
    density: float,
    scope: Literal["global", "local"] = "global",
) -> Masks:
    """Keep whole units, best first, as long as no more than `kept_count` weights are kept.

    Nothing is kept that ranks behind the first unit that exceeds the remaining budget: with units
    of several weights, the density is undershot by less than that unit. Among equal scores the
    earlier position comes first.

    Args:
        scores: Weight name -> scores, each for all weights that it is broadcast over: (out, 1, 1,
            1) scores the filters of a convolution, the weight's own shape its single weights.
        shapes: Weight name -> shape of the weight.
        density: Fraction of all these weights to keep at most.
        scope: Rank units over all tensors (`global`) or within each (`local`).

    Returns:
        Masks in the order of `scores`.

    Raises:
        BenchError: A score is NaN or infinite; the message names the layer.

    >>> filters = {"conv": torch.tensor([3.0, 1.0, 2.0]).view(3, 1, 1, 1)}
    >>> keep_units(filters, {"conv": (3, 2, 1, 1)}, 0.8)["conv"].flatten().int().tolist()
    [1, 1, 0, 0, 1, 1]
    """
    for name, score in scores.items():
        if not bool(torch.isfinite(score).all()):
            raise BenchError(f"the scores of {name} are not finite: nothing can be ranked by them")
    groups = [list(scores)] if scope == "global" else [[name] for name in scores]
    masks: dict[str, Tensor] = {}
    for names in groups:
        kept = _best({name: scores[name] for name in names}, shapes, density)
        masks |= {name: kept[name].expand(shapes[name]).contiguous() for name in names}
    return Masks({name: masks[name] for name in scores})


def per_filter(weight: Tensor) -> Tensor:
    """Return the L2 norm of each output filter, or row: (out, 1, ...)."""
    norms: Tensor = torch.linalg.vector_norm(
        weight, dim=tuple(range(1, weight.dim())), keepdim=True
    )
    return norms


def _best(scores: Mapping[str, Tensor], shapes: Shapes, density: float) -> dict[str, Tensor]:
    """Mark the units that are kept: bool tensors of the scores' shapes."""
    weights = {name: torch.Size(shapes[name]).numel() for name in scores}
    sizes = torch.cat(
        [
            torch.full((score.numel(),), weights[name] // score.numel(), device=score.device)
            for name, score in scores.items()
        ]
    )
    flat = torch.cat([score.flatten() for score in scores.values()])
    order = flat.argsort(descending=True, stable=True)
    kept = torch.zeros_like(flat, dtype=torch.bool)
    kept[order] = sizes[order].cumsum(0) <= kept_count(sum(weights.values()), density)
    by_tensor = kept.split([score.numel() for score in scores.values()])
    return {n: units.view_as(s) for (n, s), units in zip(scores.items(), by_tensor, strict=True)}
