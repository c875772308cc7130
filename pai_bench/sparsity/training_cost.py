"""Training FLOPs where masks change and some steps need dense gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pai_bench.core import distributed
from pai_bench.sparsity.account import kept_flops


@dataclass
class TrainingCost:
    """Images that were trained on, by the numbers of weights kept in each layer.

    The cost of an image depends on these numbers alone, so masks that change at constant numbers
    (RigL, SET) make one segment, and each step of gradual pruning makes another. Everything here is
    a Python number: counting a batch does not synchronise with the device.
    """

    segments: dict[tuple[int, ...], tuple[int, int]] = field(default_factory=dict)
    """Kept weights by layer -> images trained on, and those of them with a dense gradient."""
    _kept: tuple[int, ...] = ()

    def use(self, kept: Mapping[str, int]) -> None:
        """Count into the segment of these masks from now on: `kept` by layer, in module order."""
        self._kept = tuple(kept.values())

    def count(self, images: int, dense: int = 0) -> None:
        """Add images, and dense gradients, to the segment of the masks in use."""
        segment = self.segments.get(self._kept, (0, 0))
        self.segments[self._kept] = segment[0] + images, segment[1] + dense

    def collect(self) -> None:
        """Add what all ranks have counted into the first one's; the others start again from 0."""
        parts = distributed.gathered(self.segments)
        if len(parts) > 1:
            own = parts if distributed.rank() == 0 else []
            self.segments = {}
            for kept, (images, dense) in (item for part in own for item in part.items()):
                before = self.segments.get(kept, (0, 0))
                self.segments[kept] = before[0] + images, before[1] + dense

    @property
    def images(self) -> int:
        """Number of images that were trained on."""
        return sum(images for images, _ in self.segments.values())

    def flops(self, macs: Mapping[str, int], totals: Mapping[str, int]) -> float:
        """Training FLOPs of all images; `macs` of the dense layers, `totals` of prunable weights.

        Two FLOPs for each multiply-accumulate of a kept weight, as in `inference_flops`.
        """
        dense_flops = kept_flops(macs, totals, totals)
        cost = 0.0
        for kept, (images, dense) in self.segments.items():
            sparse = kept_flops(macs, dict(zip(totals, kept, strict=True)), totals)
            cost += trained_flops(sparse, dense_flops, images, dense)
        return cost


def trained_flops(sparse: float, whole: float, images: int, dense: int = 0) -> float:
    """Training FLOPs of `images`, for `dense` of which the gradient of all weights is computed.

    With `sparse` and `whole` for one image forwards through the masked and the dense network, an
    image costs 3 `sparse`: backwards is twice forwards, once for the activations and once for the
    weights. With a dense gradient, this last part is `whole` (RigL, appendix H).
    """
    return 3 * sparse * images + (whole - sparse) * dense
