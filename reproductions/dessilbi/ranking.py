"""From a path to a ranking: which weights, or filters, came first, and which are strongest.

Scores have the weight's shape, or (out, 1, ...) where the prox groups a filter; higher is better.
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
    """Tell whether the prox thresholds whole output filters: never those of linear layers."""
    return prox != "l1" and weight.dim() > 2


def size_factor(weight: Tensor, prox: Prox) -> float:
    """What lambda is multiplied with: sqrt(weights per filter) if the prox says so."""
    if prox == "filter_sqrt" and weight.dim() > 2:
        return math.sqrt(weight[0].numel())
    return 1.0


def level(dual: Tensor, prox: Prox, lam: float) -> Tensor:
    """How far Z is up, in thresholds: Gamma is not 0 where this exceeds 1; float64.

    |Z| / lambda; of a filter its norm, or root mean square, over lambda. The top k of these are
    the support that the same Z would have at another threshold.
    """
    dual = dual.double()
    size = per_filter(dual) if is_grouped(dual, prox) else dual.abs()
    return size / (lam * size_factor(dual, prox))


def magnitude(weight: Tensor, prox: Prox) -> Tensor:
    """|W|, or the norm of each filter where the prox groups filters; float64."""
    weight = weight.double()
    return per_filter(weight) if is_grouped(weight, prox) else weight.abs()


def earliest(entry: Tensor, prox: Prox) -> Tensor:
    """The entry of each weight, or that of a filter's first weight (authors' prune order)."""
    if not is_grouped(entry, prox):
        return entry.double()
    flat = entry.double().flatten(1).amin(1)
    return flat.view(-1, *[1] * (entry.dim() - 1))


def lexicographic(entry: Mapping[str, Tensor], strength: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank by early `entry`, then great `strength`, then position; no two scores are equal.

    The authors' code adds the two up in single precision instead, where the weights that never
    entered are equal to each other.

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
    parts = scores.split([value.numel() for value in entry.values()])
    return {n: part.view_as(v) for (n, v), part in zip(entry.items(), parts, strict=True)}
