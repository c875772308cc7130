"""The authors' pruning by order of selection: layer by layer, in one shot, without retraining.

All in double precision: in single precision |W| - 2000 makes the small weights that never entered
equal, and the authors' code then prunes nothing at low percentages.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pai_bench.reproductions.dessilbi import ranking

NEVER = 2000.0
"""Epoch of weights that were never selected, in the authors' code."""


def note_epoch(record: Tensor, gamma: Tensor, epoch: int) -> Tensor:
    """Update the first epoch, from 0, at whose end each element of Gamma is not 0; else NEVER."""
    current = torch.where(gamma != 0, float(epoch), NEVER).to(record.dtype)
    return torch.minimum(record, current)


def prune_order(weight: Tensor, record: Tensor) -> Tensor:
    """Score by size minus first epoch: filters (out,) of a convolution, single linear weights.

    Not lexicographic: a filter overtakes one that was selected an epoch earlier if its norm is
    larger by more than 1.
    """
    scores = ranking.magnitude(weight, "filter") - ranking.earliest(record, "filter")
    return scores.flatten() if weight.dim() > 2 else scores


def threshold(order: Tensor, percent: float) -> float:
    """The linear percentile of a layer's scores."""
    return float(np.percentile(order.double().numpy(force=True), percent))


def pruned(
    weight: Tensor, bias: Tensor | None, order: Tensor, percent: float
) -> tuple[Tensor, Tensor | None]:
    """Set to 0 what scores below the percentile: filters and biases, or single linear weights.

    Filters at the percentile are kept, linear weights are not (the authors' code).
    """
    limit = threshold(order, percent)
    if weight.dim() == 2:
        return weight * (order > limit), bias
    kept = order >= limit
    shaped = kept.view(-1, *[1] * (weight.dim() - 1))
    return weight * shaped, None if bias is None else bias * kept
