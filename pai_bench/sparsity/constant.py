"""Scores that do not tell the weights of a layer apart."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

ROUNDING = 4
"""Difference that counts as equal, in units of the last place."""


def constant_layers(scores: Mapping[str, Tensor], alive: Mapping[str, Tensor]) -> list[str]:
    """Find the layers of which all weights score the same, zero above all, up to rounding.

    Such a layer is ranked by position. Only the weights that are still alive count; layers with
    fewer than two of them have nothing to rank.

    Args:
        scores: Parameter name -> score of each weight.
        alive: Parameter name -> bool mask of the weights that are not pruned yet.

    Returns:
        Parameter names.

    >>> scores = {"a": torch.zeros(3), "b": torch.tensor([1.0, 2.0])}
    >>> constant_layers(scores, {name: score > -1 for name, score in scores.items()})
    ['a']
    """
    extremes = {n: torch.stack(_extremes(s.detach(), alive[n])) for n, s in scores.items()}
    if not extremes:
        return []
    found = torch.stack([pair.double() for pair in extremes.values()]).tolist()
    return [
        name
        for (name, pair), (low, high) in zip(extremes.items(), found, strict=True)
        if high - low <= ROUNDING * torch.finfo(pair.dtype).eps * max(abs(low), abs(high))
        and scores[name].numel() > 1
        and low <= high
    ]


def _extremes(score: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest score of weights alive; (inf, -inf) of fewer than two."""
    if bool(alive.all()):
        return score.aminmax()
    few = alive.sum() < 2
    low = torch.where(alive, score, torch.inf).min().masked_fill(few, torch.inf)
    high = torch.where(alive, score, -torch.inf).max().masked_fill(few, -torch.inf)
    return low, high
