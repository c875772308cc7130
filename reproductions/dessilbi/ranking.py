"""Rank weights, or filters, by a path: by their entry into the support, and by their size.

Scores have the weight's shape, or (out, 1, ...) if the prox groups filters; the highest are kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from pai_bench.sparsity.units import per_filter

Prox = Literal["l1", "filter", "filter_sqrt"]


def is_grouped(weight: Tensor, prox: Prox) -> bool:
    """Whether the prox thresholds whole output filters; never those of linear layers."""
    return prox != "l1" and weight.dim() > 2


def size_factor(weight: Tensor, prox: Prox) -> float:
    """Factor of lambda: sqrt(weights per filter) for `filter_sqrt`, else 1."""
    if prox == "filter_sqrt" and weight.dim() > 2:
        return math.sqrt(weight[0].numel())
    return 1.0


def level(dual: Tensor, prox: Prox, lam: float) -> Tensor:
    """|Z| in units of the threshold, in float64: Gamma is not 0 where this exceeds 1.

    |Z| / lambda; for a filter its norm, or root mean square, over lambda. The top k of these are
    the support that the same Z would have at another threshold.
    """
    dual = dual.double()
    size = per_filter(dual) if is_grouped(dual, prox) else dual.abs()
    return size / (lam * size_factor(dual, prox))


def magnitude(weight: Tensor, prox: Prox) -> Tensor:
    """|W|, or the norm of each filter if the prox groups filters, in float64."""
    weight = weight.double()
    return per_filter(weight) if is_grouped(weight, prox) else weight.abs()


def earliest(entry: Tensor, prox: Prox) -> Tensor:
    """Entry of each weight, or the earliest of a filter's weights (the authors' prune order)."""
    if not is_grouped(entry, prox):
        return entry.double()
    flat = entry.double().flatten(1).amin(1)
    return flat.view(-1, *[1] * (entry.dim() - 1))


def lexicographic(entry: Mapping[str, Tensor], strength: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Score by early `entry`, then large `strength`, then position; no two scores are equal.

    The authors' code adds the two in single precision instead, which makes the weights that never
    entered equal to each other.

    >>> entry = {"w": torch.tensor([2.0, 1.0, 2.0])}
    >>> lexicographic(entry, {"w": torch.tensor([0.1, 0.2, 0.3])})["w"].tolist()
    [1.0, 3.0, 2.0]
    """
    early = torch.cat([value.double().flatten() for value in entry.values()])
    strong = torch.cat([strength[name].double().flatten() for name in entry])
    order = strong.argsort(descending=True, stable=True)
    order = order[early[order].argsort(stable=True)]
    scores = torch.empty_like(strong)
    scores[order] = torch.arange(len(order), 0, -1, dtype=scores.dtype, device=scores.device)
    by_layer = scores.split([value.numel() for value in entry.values()])
    return {n: flat.view_as(v) for (n, v), flat in zip(entry.items(), by_layer, strict=True)}
