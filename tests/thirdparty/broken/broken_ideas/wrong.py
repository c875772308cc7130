"""Methods that return what they must not, and one that is none."""

import torch

from pai_bench import PruneAtInit
from pai_bench import register
from pai_bench import prunable


@register("no-method")
class NoMethod:
    """Derived from nothing."""


@register("wrong-shapes")
class WrongShapes(PruneAtInit):
    """Scores without their last dimension."""

    def scores(self, network, batches):
        return {name: weight.detach().sum(-1) for name, weight in prunable(network)}


@register("writes-nan")
class WritesNaN(PruneAtInit):
    """Scores that are no numbers."""

    def scores(self, network, batches):
        return {name: torch.full_like(w, float("nan")) for name, w in prunable(network)}
