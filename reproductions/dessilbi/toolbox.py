"""The authors' pruning by order of selection: layer by layer, in one shot, without training on.

All in double precision: in single, |W| - 2000 makes the small weights that never entered equal, and
their code then prunes nothing at low percentages.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pai_bench.reproductions.dessilbi import ranking

NEVER = 2000.0
"""The epoch of what was never selected, in the authors' code."""


def note_epoch(record: Tensor, gamma: Tensor, epoch: int) -> Tensor:
    """First epoch, from 0, at whose end each element of Gamma was not 0, NEVER for none so far."""
    now = torch.where(gamma != 0, float(epoch), NEVER).to(record.dtype)
    return torch.minimum(record, now)


def prune_order(weight: Tensor, record: Tensor) -> Tensor:
    """Size minus first epoch: of each filter (out,) of a convolution, of each linear weight.

    Not lexicographic: a filter of a greater norm overtakes one that was selected an epoch earlier,
    if the norms are more than 1 apart.
    """
    scores = ranking.magnitude(weight, "filter") - ranking.earliest(record, "filter")
    return scores.flatten() if weight.dim() > 2 else scores


def threshold(order: Tensor, percent: float) -> float:
    """The linear percentile of a layer's scores."""
    return float(np.percentile(order.double().numpy(force=True), percent))


def pruned(
    weight: Tensor, bias: Tensor | None, order: Tensor, percent: float
) -> tuple[Tensor, Tensor | None]:
    """Zero what is below the percentile: filters and their biases, or single linear weights.

    Filters at the percentile are kept, linear weights are not (authors' code).
    """
    limit = threshold(order, percent)
    if weight.dim() == 2:
        return weight * (order > limit), bias
    kept = order >= limit
    shaped = kept.view(-1, *[1] * (weight.dim() - 1))
    return weight * shaped, None if bias is None else bias * kept
