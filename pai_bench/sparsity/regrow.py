"""Masks that move while a network is trained: some weights are dropped, as many are grown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pai_bench.sparsity.select import keep_largest

Anneal = Literal["cosine", "constant", "power"]


@dataclass(frozen=True)
class Schedule:
    """When masks are updated, and what part of the kept weights moves then (RigL, equation 1).

    Updates are every `delta_t` steps up to `end`, `end` included, as in the authors' code; with
    `cosine` and `power` nothing moves in an update at `end` itself.
    """

    alpha: float
    """The part that moves at step 0."""
    delta_t: int
    end: int
    """The last step at which there may be an update."""
    anneal: Anneal = "cosine"
    power: float = 1.0
    """Of `power`: alpha (1 - t / end)^power; 1 and 3 were studied in the paper's appendix G."""

    def due(self, step: int, first: int = 0) -> bool:
        """Tell whether there is an update at `step`, the first one being at step `first`.

        >>> imagenet = Schedule(alpha=0.3, delta_t=100, end=25_000)
        >>> sum(imagenet.due(step) for step in range(32_000))
        251
        """
        return first <= step <= self.end and (step - first) % self.delta_t == 0

    def fraction(self, step: int) -> float:
        """What part of the kept weights moves at `step`.

        In float32, operation by operation as in RigL's code: where the part of a layer is nearly a
        whole number, it decides how many weights move.

        >>> schedule = Schedule(alpha=0.3, delta_t=100, end=1000)
        >>> [round(schedule.fraction(step), 3) for step in (0, 500, 1000)]
        [0.3, 0.15, 0.0]
        """
        done, one = np.float32(step) / np.float32(self.end), np.float32(1)
        part = one
        if self.anneal == "cosine":
            # A cosine in float32 may round otherwise on another processor.
            part = np.float32(0.5) * (one + np.float32(math.cos(np.float32(math.pi) * done)))
        elif self.anneal == "power":
            part = np.float32(float(one - done) ** self.power)
        return float(np.float32(self.alpha) * part)


def moved_count(kept: int, fraction: float) -> int:
    """How many of `kept` weights `fraction` is: truncated, in float32 as in RigL's code.

    >>> moved_count(9, 0.35), moved_count(9, 0.2)
    (3, 1)
    """
    return int(np.float32(kept) * np.float32(fraction))


def drop_and_grow(
    weight: Tensor, mask: Tensor, growth: Tensor, drop: int, grow: int | None = None
) -> Tensor:
    """Drop the `drop` kept weights of smallest magnitude; grow `grow` others, as many by default.

    Returns the new mask. Grown are the highest `growth` scores among all weights that are not kept
    by the drop, those that were just dropped included: such a weight was never away. Ties go to the
    earlier position, in both. Only kept weights can survive the drop, also when they are exactly 0
    (in RigL's code others may take their place). `grow` is at most what is free after the drop.

    >>> weight, mask = torch.tensor([0.9, 0.1, 0.0, 0.0]), torch.tensor([True, True, False, False])
    >>> drop_and_grow(weight, mask, torch.tensor([9.0, 1.0, 1.0, 2.0]), drop=1).tolist()
    [True, False, False, True]
    """
    active = mask.flatten().nonzero().flatten()
    magnitudes = weight.detach().flatten()[active].abs()
    stays = active[keep_largest(magnitudes, len(active) - drop)]
    kept = torch.zeros(mask.numel(), dtype=torch.bool, device=mask.device)
    kept[stays] = True
    candidates = growth.flatten().clone()
    candidates[stays] = -math.inf
    grown = keep_largest(candidates, drop if grow is None else grow)
    return (kept | grown).view_as(mask)


def shared_out(total: int, shares: Mapping[str, float], room: Mapping[str, int]) -> dict[str, int]:
    """Give out `total` places in proportion to `shares`, to none more than it has `room` for.

    What does not fit goes to the others, in proportion again; what rounding leaves, one each to the
    largest remainders. Without any share above 0 room decides. All are given out where they fit.

    >>> shared_out(10, {"a": 3.0, "b": 1.0, "c": 1.0}, {"a": 4, "b": 9, "c": 9})
    {'a': 4, 'b': 3, 'c': 3}
    """
    given = dict.fromkeys(shares, 0)
    left = min(total, sum(room.values()))
    while left:
        open_ = {n: share for n, share in shares.items() if given[n] < room[n] and share > 0}
        open_ = open_ or {n: float(room[n]) for n in shares if given[n] < room[n]}
        exact = {n: left * share / sum(open_.values()) for n, share in open_.items()}
        more = {n: min(int(part), room[n] - given[n]) for n, part in exact.items()}
        if not any(more.values()):
            ranked = sorted(exact, key=lambda n: int(exact[n]) - exact[n])
            more = dict.fromkeys(ranked[:left], 1)
        for name, count in more.items():
            given[name] += count
        left -= sum(more.values())
    return given
