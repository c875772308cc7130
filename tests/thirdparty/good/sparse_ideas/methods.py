"""Two methods: one that needs nothing, and one with a hyper-parameter that looks at gradients."""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from pai_bench import PruneAtInit, prunable, register


@register("checkerboard")
class Checkerboard(PruneAtInit):
    """Keep weights at regular distances, whatever they are."""

    needs_data = False
    needs_labels = False

    def scores(self, network, batches):
        weights = prunable(network)
        return {n: torch.arange(w.numel()).remainder(7).view_as(w).float() for n, w in weights}


@register("gradient-power")
class GradientPower(PruneAtInit):
    """Keep the largest |w|^power |dL/dw|."""

    version = 2
    paper = "Sparse Ideas (2026)"

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """Power 1 is SNIP."""

        power: float = 0.5

    def scores(self, network, batches):
        weights = dict(prunable(network))
        for images, labels in batches:
            cross_entropy(network(images), labels).backward()
        return {n: w.detach().abs() ** self.hyper.power * w.grad.abs() for n, w in weights.items()}
