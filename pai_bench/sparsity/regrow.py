"""Mask updates during training: some weights are dropped, as many are grown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pai_bench.core.xla import is_xla
from pai_bench.sparsity.select import keep_largest

Anneal = Literal["cosine", "constant", "power"]


@dataclass(frozen=True)
class Schedule:
    """When masks are updated, and which fraction of the kept weights is moved (RigL, equation 1).

    Updates are every `delta_t` steps up to `end`, `end` included, as in the authors' code; with
    `cosine` and `power` an update at `end` itself moves nothing.
    """

    alpha: float
    """The fraction that is moved at step 0."""
    delta_t: int
    end: int
    """The last step at which there may be an update."""
    anneal: Anneal = "cosine"
    power: float = 1.0
    """Exponent of `power`: alpha (1 - t / end)^power; the paper's appendix G studies 1 and 3."""

    def due(self, step: int, first: int = 0) -> bool:
        """Whether there is an update at `step`, the first one being at step `first`.

        >>> imagenet = Schedule(alpha=0.3, delta_t=100, end=25_000)
        >>> sum(imagenet.due(step) for step in range(32_000))
        251
        """
        return first <= step <= self.end and (step - first) % self.delta_t == 0

    def fraction(self, step: int) -> float:
        """Return the fraction of the kept weights that is moved at `step`.

        In float32, operation by operation as in RigL's code: rounding decides how many weights are
        moved where the number is nearly whole.

        >>> schedule = Schedule(alpha=0.3, delta_t=100, end=1000)
        >>> [round(schedule.fraction(step), 3) for step in (0, 500, 1000)]
        [0.3, 0.15, 0.0]
        """
        progress, one = np.float32(step) / np.float32(self.end), np.float32(1)
        factor = one
        if self.anneal == "cosine":
            # A cosine in float32 may round otherwise on another processor.
            factor = np.float32(0.5) * (one + np.float32(math.cos(np.float32(math.pi) * progress)))
        elif self.anneal == "power":
            factor = np.float32(float(one - progress) ** self.power)
        return float(np.float32(self.alpha) * factor)


def moved_count(kept: int, fraction: float) -> int:
    """Number of weights that `fraction` of `kept` is: truncated, in float32 as in RigL's code.

    >>> moved_count(9, 0.35), moved_count(9, 0.2)
    (3, 1)
    """
    return int(np.float32(kept) * np.float32(fraction))


def drop_and_grow(
    weight: Tensor, mask: Tensor, growth: Tensor, drop: int, grow: int | None = None
) -> Tensor:
    """Drop the `drop` kept weights of smallest magnitude, and grow `grow` weights instead.

    Grown are the highest `growth` scores among all weights that are masked after the drop, those
    just dropped included: these then simply stay. Ties go to the earlier position, in both. Only
    kept weights can survive the drop, also when they are exactly 0 (in RigL's code others may take
    their place).

    Args:
        weight: The layer's weight.
        mask: Its current mask, bool of the same shape.
        growth: Growth scores, of the same shape.
        drop: Number of kept weights to drop.
        grow: Number of weights to grow, at most those masked after the drop; by default `drop`.

    Returns:
        The new mask.

    >>> weight, mask = torch.tensor([0.9, 0.1, 0.0, 0.0]), torch.tensor([True, True, False, False])
    >>> drop_and_grow(weight, mask, torch.tensor([9.0, 1.0, 1.0, 2.0]), drop=1).tolist()
    [True, False, False, True]
    """
    grow = drop if grow is None else grow
    if is_xla(mask):
        return _static(weight, mask, growth, drop, grow)
    active = mask.flatten().nonzero().flatten()
    magnitudes = weight.detach().flatten()[active].abs()
    surviving = active[keep_largest(magnitudes, len(active) - drop)]
    kept = torch.zeros(mask.numel(), dtype=torch.bool, device=mask.device)
    kept[surviving] = True
    candidates = growth.flatten().clone()
    candidates[surviving] = -math.inf
    grown = keep_largest(candidates, grow)
    return (kept | grown).view_as(mask)


def _static(weight: Tensor, mask: Tensor, growth: Tensor, drop: int, grow: int) -> Tensor:
    """The same by operations whose shapes depend on no value; elsewhere they take longer."""
    magnitudes = torch.where(mask, weight.detach().abs(), -math.inf).flatten()
    kept = keep_largest(magnitudes, int(mask.sum()) - drop)
    grown = keep_largest(growth.flatten().masked_fill(kept, -math.inf), grow)
    return (kept | grown).view_as(mask)


def shared_out(total: int, shares: Mapping[str, float], room: Mapping[str, int]) -> dict[str, int]:
    """Distribute `total` in whole numbers in proportion to `shares`, at most `room` to each.

    What exceeds a name's room goes to the others, in proportion again; what rounding leaves goes,
    one each, to the largest remainders. Without any share above 0, shares are the rooms. All of
    `total` is distributed where it fits.

    >>> shared_out(10, {"a": 3.0, "b": 1.0, "c": 1.0}, {"a": 4, "b": 9, "c": 9})
    {'a': 4, 'b': 3, 'c': 3}
    """
    counts = dict.fromkeys(shares, 0)
    remaining = min(total, sum(room.values()))
    while remaining:
        free = {n: share for n, share in shares.items() if counts[n] < room[n] and share > 0}
        free = free or {n: float(room[n]) for n in shares if counts[n] < room[n]}
        exact = {n: remaining * share / sum(free.values()) for n, share in free.items()}
        added = {n: min(int(quota), room[n] - counts[n]) for n, quota in exact.items()}
        if not any(added.values()):
            ranked = sorted(exact, key=lambda n: int(exact[n]) - exact[n])
            added = dict.fromkeys(ranked[:remaining], 1)
        for name, count in added.items():
            counts[name] += count
        remaining -= sum(added.values())
    return counts
