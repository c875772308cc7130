"""Scores -> masks with exactly the asked number of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pai_bench.core.errors import BenchError
from pai_bench.sparsity import allocate
from pai_bench.sparsity.masks import Masks, prunable

Scope = Literal["global", "local", "er", "erk", "rigl-mnist"]
Rule = Literal["exact", "strict", "above", "histogram"]

BINS = 256
SAMPLED_FROM, SAMPLE = 100_000, 8192
"""Numbers from which on a threshold is first looked for in a sample, and the size of that."""
SAMPLED_TYPES = (torch.float32, torch.float64)


def kept_count(total: int, density: float) -> int:
    """Number of weights kept: total - int((1 - density) * total), as the field's code counts.

    >>> kept_count(270_896, 0.8**2)
    173374
    """
    return total - int((1.0 - density) * total)


def random_scores(network: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw one standard normal per prunable weight, on the CPU, in module order."""
    return {
        name: torch.randn(weight.shape, generator=generator).to(weight.device)
        for name, weight in prunable(network)
    }


def topk_masks(
    scores: Mapping[str, Tensor],
    density: float,
    *,
    scope: Scope = "global",
    rule: Rule = "exact",
    alive: Mapping[str, Tensor] | None = None,
    progress: float = 1.0,
) -> Masks:
    """Keep the weights with the highest scores: over all tensors, or tensor by tensor.

    Tensor by tensor, the densities are those of an allocation: uniform (`local`), Erdős–Rényi
    (`er`), its kernel variant (`erk`), or that of RigL's LeNet (`rigl-mnist`). `progress` is how
    far each is on its way there from being whole.

    `exact` keeps `kept_count` weights; among equal scores those that are `alive` (kept by the
    current masks) go first, then the earlier position. `strict` keeps what lies strictly above the
    threshold, as the authors' codes do, and so over-prunes on ties: for comparison only.
    `above` keeps what lies strictly above the lowest score that `exact` keeps, one weight fewer
    without ties (NTT's code, section 1.4 of its specification).
    `histogram` is roughly right, as the library is that RigL's authors prune gradually with.

    Raises BenchError, naming the layer, when a score is NaN or infinite.

    >>> topk_masks({"w": torch.tensor([1.0, 3.0, 2.0, 3.0])}, 0.5)["w"].tolist()
    [False, True, False, True]
    >>> topk_masks({"w": torch.zeros(4)}, 0.5)["w"].tolist()
    [True, True, False, False]
    """
    kept: dict[str, Tensor] = {}
    rules = {"exact": _exact, "strict": _strict, "above": _above, "histogram": _histogram}
    for names, goal in _groups(scores, density, scope):
        share = goal if progress == 1 else 1 - (1 - goal) * progress
        flat = torch.cat([scores[name].detach().flatten() for name in names])
        if not _finite(flat):
            _name_the_first_not_finite(scores, names)
        first = None
        if alive is not None:
            first = torch.cat([alive[name].flatten() for name in names])
        chosen = rules[rule](flat, share, first)
        parts = chosen.split([scores[name].numel() for name in names])
        kept |= {n: part.view_as(scores[n]) for n, part in zip(names, parts, strict=True)}
    return Masks({name: kept[name] for name in scores})


def _groups(
    scores: Mapping[str, Tensor], density: float, scope: Scope
) -> list[tuple[list[str], float]]:
    """Tensors that are ranked together, and how densely they are kept."""
    if scope == "global":
        return [(list(scores), density)]
    rules = {
        "local": allocate.uniform,
        "er": allocate.erdos_renyi,
        "erk": allocate.erdos_renyi_kernel,
        "rigl-mnist": allocate.rigl_mnist,
    }
    shapes = {name: tuple(score.shape) for name, score in scores.items()}
    shares = rules[scope](shapes, density)
    return [([name], share) for name, share in shares.items()]


def _exact(flat: Tensor, density: float, alive: Tensor | None) -> Tensor:
    return keep_largest(flat, kept_count(flat.numel(), density), alive)


def keep_largest(flat: Tensor, keep: int, first: Tensor | None = None) -> Tensor:
    """Mark the `keep` largest of a flat tensor; one partial sort, then the ties in order.

    Among ties at the threshold those marked in `first` go first, then the earlier position.
    """
    if keep == flat.numel():
        return torch.ones_like(flat, dtype=torch.bool)
    if keep == 0:
        return torch.zeros_like(flat, dtype=torch.bool)
    band = _band_around(flat, flat.numel() - keep + 1)
    threshold = band.values.kthvalue(band.place).values
    higher = band.values > threshold
    ties = band.positions[band.values == threshold]
    missing = len(band.values) - band.place + 1 - int(higher.count_nonzero())
    if first is not None and len(ties) > missing:
        ties = torch.cat([ties[first[ties]], ties[~first[ties]]])
    chosen = band.above
    chosen[band.positions] = higher
    chosen[ties[:missing]] = True
    return chosen


def _strict(flat: Tensor, density: float, _first: Tensor | None) -> Tensor:
    """Keep what is above the k-th smallest score, k the number to remove."""
    return _above_smallest(flat, flat.numel() - kept_count(flat.numel(), density))


def _above(flat: Tensor, density: float, _first: Tensor | None) -> Tensor:
    """Keep what is above the smallest score that an exact choice would keep."""
    return _above_smallest(flat, flat.numel() - kept_count(flat.numel(), density) + 1)


def _above_smallest(flat: Tensor, place: int) -> Tensor:
    if place < 1:
        return torch.ones_like(flat, dtype=torch.bool)
    return flat > kth_smallest(flat, place)


def _histogram(flat: Tensor, density: float, _first: Tensor | None) -> Tensor:
    """Keep what is above the upper edge of the last of 256 bins that are to go, as a whole.

    Scores are 0 or more; the bins are of equal width from 0 to the highest. What is kept misses
    the density by a bin's contents at most (TensorFlow's pruning library).
    """
    highest = flat.max()
    counts = torch.histc(flat.float(), BINS, 0.0, float(highest))
    to_go = (counts.cumsum(0) < (1 - density) * flat.numel()).sum()
    return flat > highest * (to_go / BINS)


def _finite(flat: Tensor) -> bool:
    """Whether all are finite: NaN and infinities show in the sum, which takes half as long as
    the extremes; where it overflowed, those tell.
    """
    if not flat.numel() or flat.sum().isfinite():
        return True
    return bool(torch.stack(flat.aminmax()).isfinite().all())


def _name_the_first_not_finite(scores: Mapping[str, Tensor], names: list[str]) -> None:
    found = next(name for name in names if not _finite(scores[name]))
    raise BenchError(f"the scores of {found} are not finite: nothing can be ranked by them")


def kth_smallest(flat: Tensor, k: int) -> Tensor:
    """Return the k-th smallest of `flat` (N,), k from 1: `kthvalue`, in O(N) with a small constant.

    >>> kth_smallest(torch.tensor([3.0, 1.0, 2.0]), 2)
    tensor(2.)
    """
    band = _band_around(flat, k)
    return band.values.kthvalue(band.place).values


@dataclass(frozen=True)
class _Band:
    """The numbers of a tensor that lie between two bounds, all equal ones or none among them."""

    values: Tensor
    positions: Tensor
    place: int
    """Which of the smallest here is the one that is looked for in the whole tensor, from 1."""
    above: Tensor
    """Marks what lies above the band, over the whole tensor."""


def _band_around(flat: Tensor, k: int) -> _Band:
    """Find few numbers of `flat` (N,) of which one is its k-th smallest.

    On a CPU, `kthvalue` reads many numbers many times. An evenly spaced sample tells between which
    two numbers, four standard deviations from its place, the k-th one almost surely lies; only
    those between them are then partially sorted (after Floyd and Rivest). What is found never
    depends on the sample: where it misled, the band is the whole tensor.
    """
    if flat.device.type != "cpu" or flat.numel() < SAMPLED_FROM or flat.dtype not in SAMPLED_TYPES:
        return _whole(flat, k)
    numbers = flat.detach().numpy()  # Compared and counted five times as fast as by torch.
    low, high = _bounds(numbers, k)
    not_above = numbers <= low
    below = int(np.count_nonzero(not_above))
    if k <= below:  # the lower bound itself, or less
        high, not_above = low, numbers < low
        below = int(np.count_nonzero(not_above))
    inside = numbers <= high
    positions = np.flatnonzero(inside != not_above)
    if not below < k <= below + len(positions):
        return _whole(flat, k)
    values, places, above = map(torch.from_numpy, (numbers[positions], positions, ~inside))
    return _Band(values, places, k - below, above)


def _bounds(numbers: NDArray[Any], k: int) -> tuple[float, float]:
    """Two numbers of an evenly spaced sample between which the k-th smallest should lie."""
    sample = numbers[:: len(numbers) // SAMPLE]
    share = k / len(numbers)
    place, margin = share * len(sample), 1 + 4 * sqrt(len(sample) * share * (1 - share))
    low, high = max(0, int(place - margin)), min(len(sample) - 1, int(place + margin))
    ranked = np.partition(sample, (low, high))
    return ranked[low], ranked[high]


def _whole(flat: Tensor, k: int) -> _Band:
    positions = torch.arange(flat.numel(), device=flat.device)
    return _Band(flat, positions, k, torch.zeros_like(flat, dtype=torch.bool))


def density_schedule(density: float, step: int, steps: int, schedule: str = "exponential") -> float:
    """Density after round `step` of `steps` on the way to `density` (NTK-SAP's code).

    `exponential` d^(t/T), `linear` 1 - (1 - d) t/T, `expinv` 1 - (1 - d)^(T/t).

    >>> [round(density_schedule(0.01, t, 2), 6) for t in (1, 2)]
    [0.1, 0.01]
    """
    share = step / steps
    if schedule == "exponential":
        return float(density**share)
    if schedule == "linear":
        return 1 - (1 - density) * share
    if schedule == "expinv":
        return float(1 - (1 - density) ** (1 / share))
    raise BenchError(f'unknown schedule "{schedule}"; known: exponential, expinv, linear')
