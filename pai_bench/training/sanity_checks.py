"""Sanity checks for any method: does the mask matter beyond its densities by layer?

After Su et al. (2020) and Frankle et al. (2021). Each removes something that a method claims to
use, and leaves the rest unchanged:

- `layerwise-shuffle`: each layer keeps as many weights, at random positions;
- `reinitialise`: the masks stay, training starts from other initial weights;
- `invert`: in each round the weights with the lowest scores are kept;
- `random-labels`: the batches that are scored have labels drawn at random;
- `random-pixels`: the values of each scored image are shuffled within the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pai_bench.config.schema import CORRUPTING
from pai_bench.core.rng import RandomStreams
from pai_bench.sparsity.masks import Masks
from pai_bench.training.restricted_batches import WrappedBatches, afresh, extra_batch, first_of

if TYPE_CHECKING:
    from pai_bench.training.context import MethodContext

Batch = tuple[Tensor, Any]


def corrupted(context: MethodContext, batches: Any) -> Any:
    """Corrupt the batches for scoring, if the sanity check of the cell does so."""
    if context.sanity_check not in CORRUPTING:
        return batches
    return Corrupted(batches, context.sanity_check, context.classes, context.rng)


def after_selection(context: MethodContext, masks: Masks, network: nn.Module) -> Masks:
    """Apply a sanity check that comes after the choice of masks; return the masks to train with.

    `reinitialise` replaces the weights of `network` in place.
    """
    if context.sanity_check == "layerwise-shuffle":
        return shuffled(masks, context.rng)
    if context.sanity_check == "reinitialise" and context.other_start is not None:
        network.load_state_dict(context.other_start().state_dict())
    return masks


def inverted(scores: Mapping[str, Tensor], alive: Masks | None = None) -> dict[str, Tensor]:
    """Negate scores, so that the lowest rank first; weights that are not `alive` stay last."""
    if alive is None:
        return {name: -score for name, score in scores.items()}
    last = -1.0 - max(float(score.max()) for score in scores.values())
    return {n: torch.where(alive[n], -score, last) for n, score in scores.items()}


def shuffled(masks: Masks, rng: RandomStreams) -> Masks:
    """Permute the mask of each layer at random; draws come from the stream `ablation`."""
    generator = rng.generator("ablation")
    permuted = {}
    for name, mask in masks.items():
        order = torch.randperm(mask.numel(), generator=generator).to(mask.device)
        permuted[name] = mask.flatten()[order].view_as(mask)
    return Masks(permuted)


class Corrupted(WrappedBatches):
    """Batches with random labels or shuffled pixels, corrupted lazily.

    The corruption of a batch depends on (seed, its index) alone, and on the round for which it was
    drawn again.
    """

    def __init__(
        self, batches: Any, check: str, classes: int, rng: RandomStreams, stream: str = "ablation"
    ) -> None:
        self.batches, self._check = batches, check
        self._classes, self._rng, self._stream = classes, rng, stream

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: Any) -> Any:
        return self._corrupt(number, *self.batches[number])

    def __iter__(self) -> Iterator[Batch]:
        for number, (images, labels) in enumerate(self.batches, first_of(self)):
            yield self._corrupt(number, images, labels)

    def afresh(self, number: int) -> Corrupted:
        """The same batches drawn again, and corrupted anew."""
        batches, stream = afresh(self.batches, number), f"ablation/round/{number}"
        return Corrupted(batches, self._check, self._classes, self._rng, stream)

    def extra_batch(self, number: int) -> Batch:
        """An extra batch, corrupted too."""
        return self._corrupt(number, *extra_batch(self.batches, number))

    def _corrupt(self, number: int, images: Tensor, labels: Tensor) -> Batch:
        generator = self._rng.generator(f"{self._stream}/{number}")
        if self._check == "random-labels":
            random_labels = torch.randint(0, self._classes, labels.shape, generator=generator)
            return images, random_labels.to(labels.device)
        flat = images.flatten(1)
        order = torch.rand(flat.shape, generator=generator).argsort(1).to(images.device)
        return flat.gather(1, order).view_as(images), labels
