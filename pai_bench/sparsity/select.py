"""From scores to masks that keep exactly the requested number of weights."""

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
from pai_bench.core.xla import is_xla
from pai_bench.sparsity import allocate, static_select
from pai_bench.sparsity.masks import Masks, prunable

Scope = Literal["global", "local", "er", "erk", "rigl-mnist"]
Rule = Literal["exact", "strict", "above", "histogram"]

BINS = 256
SAMPLED_FROM, SAMPLE = 100_000, 8192
"""Elements from which on a threshold is first bounded by a sample, and the sample's size."""
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
        name: torch.randn(weight.shape, generator=generator, device="cpu").to(weight.device)
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

    Args:
        scores: Parameter name -> score of each weight, higher for what is to be kept.
        density: Fraction of all these weights to keep.
        scope: `global` ranks all tensors together. The others rank within each, at layer densities
            that are uniform (`local`), Erdős–Rényi (`er`), its kernel variant (`erk`), or those of
            RigL's LeNet (`rigl-mnist`).
        rule: `exact` keeps `kept_count` weights; among equal scores those that are `alive` come
            first, then the earlier position. `strict` keeps what lies strictly above the
            threshold, as the authors' codes do, and so over-prunes on ties: for comparison only.
            `above` keeps what lies strictly above the lowest score that `exact` keeps, one weight
            fewer without ties (NTT's code, section 1.4 of its specification). `histogram` is
            approximate, as is the library that RigL's authors prune gradually with.
        alive: Current masks, by which `exact` breaks ties.
        progress: Part of the way from density 1 to the target that each group has gone, 0 to 1.

    Returns:
        Masks in the order of `scores`.

    Raises:
        BenchError: A score is NaN or infinite; the message names the layer.

    >>> topk_masks({"w": torch.tensor([1.0, 3.0, 2.0, 3.0])}, 0.5)["w"].tolist()
    [False, True, False, True]
    >>> topk_masks({"w": torch.zeros(4)}, 0.5)["w"].tolist()
    [True, True, False, False]
    """
    masks: dict[str, Tensor] = {}
    rules = {"exact": _exact, "strict": _strict, "above": _above, "histogram": _histogram}
    for names, target in _groups(scores, density, scope):
        current = target if progress == 1 else 1 - (1 - target) * progress
        flat = torch.cat([scores[name].detach().flatten() for name in names])
        if not _finite(flat):
            _raise_not_finite(scores, names)
        flat_alive = None
        if alive is not None:
            flat_alive = torch.cat([alive[name].flatten() for name in names])
        flat_mask = rules[rule](flat, current, flat_alive)
        flat_masks = flat_mask.split([scores[name].numel() for name in names])
        masks |= {n: mask.view_as(scores[n]) for n, mask in zip(names, flat_masks, strict=True)}
    return Masks({name: masks[name] for name in scores})


def _groups(
    scores: Mapping[str, Tensor], density: float, scope: Scope
) -> list[tuple[list[str], float]]:
    """Group the tensors that are ranked together; give each group its density."""
    if scope == "global":
        return [(list(scores), density)]
    rules = {
        "local": allocate.uniform,
        "er": allocate.erdos_renyi,
        "erk": allocate.erdos_renyi_kernel,
        "rigl-mnist": allocate.rigl_mnist,
    }
    shapes = {name: tuple(score.shape) for name, score in scores.items()}
    densities = rules[scope](shapes, density)
    return [([name], layer_density) for name, layer_density in densities.items()]


def _exact(flat: Tensor, density: float, alive: Tensor | None) -> Tensor:
    return keep_largest(flat, kept_count(flat.numel(), density), alive)


def keep_largest(flat: Tensor, keep: int, first: Tensor | None = None) -> Tensor:
    """Mark the `keep` largest values of `flat` (N,), by one partial sort.

    Of values equal to the threshold, those marked in `first` are kept first, then the earlier
    positions.

    Returns:
        bool (N,), True at exactly `keep` positions.
    """
    if is_xla(flat):
        return static_select.keep_largest(flat, keep, first)
    if keep == flat.numel():
        return torch.ones_like(flat, dtype=torch.bool)
    if keep == 0:
        return torch.zeros_like(flat, dtype=torch.bool)
    band = _band_around(flat, flat.numel() - keep + 1)
    threshold = band.values.kthvalue(band.rank).values
    higher = band.values > threshold
    ties = band.positions[band.values == threshold]
    ties_kept = len(band.values) - band.rank + 1 - int(higher.count_nonzero())
    if first is not None and len(ties) > ties_kept:
        ties = torch.cat([ties[first[ties]], ties[~first[ties]]])
    mask = band.above
    mask[band.positions] = higher
    mask[ties[:ties_kept]] = True
    return mask


def _strict(flat: Tensor, density: float, _first: Tensor | None) -> Tensor:
    """Keep scores above the k-th smallest, where k is the number of weights to prune."""
    return _above_smallest(flat, flat.numel() - kept_count(flat.numel(), density))


def _above(flat: Tensor, density: float, _first: Tensor | None) -> Tensor:
    """Keep scores above the smallest one that `exact` keeps."""
    return _above_smallest(flat, flat.numel() - kept_count(flat.numel(), density) + 1)


def _above_smallest(flat: Tensor, k: int) -> Tensor:
    if k < 1:
        return torch.ones_like(flat, dtype=torch.bool)
    return flat > kth_smallest(flat, k)


def _histogram(flat: Tensor, density: float, _first: Tensor | None) -> Tensor:
    """Keep scores above the upper edge of the last of 256 bins that is pruned as a whole.

    Scores are 0 or more; the bins have equal width, from 0 to the highest score. The density is
    missed by the contents of one bin at most (TensorFlow's pruning library).
    """
    highest = flat.max()
    counts = torch.histc(flat.float(), BINS, 0.0, float(highest))
    pruned_bins = (counts.cumsum(0) < (1 - density) * flat.numel()).sum()
    return flat > highest * (pruned_bins / BINS)


def _finite(flat: Tensor) -> bool:
    """Whether all values are finite.

    NaN and infinities show in the sum, which takes half as long as the extremes; only where the
    sum is not finite, perhaps by overflow, are the extremes computed.
    """
    if not flat.numel() or flat.sum().isfinite():
        return True
    return bool(torch.stack(flat.aminmax()).isfinite().all())


def _raise_not_finite(scores: Mapping[str, Tensor], names: list[str]) -> None:
    layer = next(name for name in names if not _finite(scores[name]))
    raise BenchError(f"the scores of {layer} are not finite: nothing can be ranked by them")


def kth_smallest(flat: Tensor, k: int) -> Tensor:
    """Return the k-th smallest value of `flat` (N,), k from 1: a faster `kthvalue`.

    >>> kth_smallest(torch.tensor([3.0, 1.0, 2.0]), 2)
    tensor(2.)
    """
    if is_xla(flat):
        return static_select.kth_smallest(flat, k)
    band = _band_around(flat, k)
    return band.values.kthvalue(band.rank).values


@dataclass(frozen=True)
class _Band:
    """The values of a tensor between two bounds: of equal values, either all or none."""

    values: Tensor
    positions: Tensor
    rank: int
    """Rank in `values`, from 1, of the k-th smallest value of the whole tensor."""
    above: Tensor
    """bool over the whole tensor: True above the band."""


def _band_around(flat: Tensor, k: int) -> _Band:
    """Narrow `flat` (N,) down to a few values, one of which is its k-th smallest.

    On a CPU, `kthvalue` reads many values many times. An evenly spaced sample gives two bounds,
    four standard deviations around the rank, between which the k-th value almost surely lies; only
    the values between them are then partially sorted (after Floyd and Rivest). The result never
    depends on the sample: where its bounds miss, the band is the whole tensor.
    """
    if flat.device.type != "cpu" or flat.numel() < SAMPLED_FROM or flat.dtype not in SAMPLED_TYPES:
        return _whole(flat, k)
    numbers = flat.detach().numpy()  # Compared and counted five times as fast as by torch.
    low, high = _bounds(numbers, k)
    not_above = numbers <= low
    below = int(np.count_nonzero(not_above))
    if k <= below:  # The k-th value is the lower bound itself, or less.
        high, not_above = low, numbers < low
        below = int(np.count_nonzero(not_above))
    inside = numbers <= high
    positions = np.flatnonzero(inside != not_above)
    if not below < k <= below + len(positions):
        return _whole(flat, k)
    values, indices, above = map(torch.from_numpy, (numbers[positions], positions, ~inside))
    return _Band(values, indices, k - below, above)


def _bounds(numbers: NDArray[Any], k: int) -> tuple[float, float]:
    """Bound the k-th smallest value by two values of an evenly spaced sample."""
    sample = numbers[:: len(numbers) // SAMPLE]
    quantile = k / len(numbers)
    rank, margin = quantile * len(sample), 1 + 4 * sqrt(len(sample) * quantile * (1 - quantile))
    low, high = max(0, int(rank - margin)), min(len(sample) - 1, int(rank + margin))
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
    progress = step / steps
    if schedule == "exponential":
        return float(density**progress)
    if schedule == "linear":
        return 1 - (1 - density) * progress
    if schedule == "expinv":
        return float(1 - (1 - density) ** (1 / progress))
    raise BenchError(f'unknown schedule "{schedule}"; known: exponential, expinv, linear')
