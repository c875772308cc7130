"""SynFlow: pruning without data by conserving synaptic flow (NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pai_bench import PruneAtInit, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.core.nested import map_tensors
from pai_bench.training.restricted_batches import Batches

ROUNDING = 1e-13
"""Largest score, over the largest output, that is rounding."""


@register("synflow")
class SynFlow(PruneAtInit):
    """Keep the weights through which most flows in the network of absolute values."""

    paper = "SynFlow (NeurIPS 2020)"
    needs_data = False
    needs_labels = False
    keeps_scratch = True
    _weights: list[Tensor]
    """Prunable weights of the scratch copy, which all rounds share."""

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """100 rounds, as published."""

        rounds: int = 100

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """|w dR/dw|, R the sum of logits for an input of ones, in evaluation mode.

        In float64, as deep networks overflow float32 (ResNet-50 at 224 pixels does).
        """
        self.check_batches(batches)
        if self.round <= 1:
            _take_absolute_values(network)
            self._weights = [network.get_parameter(name) for name in self.masks]
        weights = self._weights
        with torch.no_grad():
            # A byte becomes a float64 in half the time that a bool takes.
            torch._foreach_mul_(weights, [mask.view(torch.uint8) for mask in self.masks.values()])
        outputs = network(map_tensors(batches[0][0], _one))
        gradients = torch.autograd.grad(outputs.sum(), weights, materialize_grads=True)
        with torch.no_grad():
            torch._foreach_mul_(gradients, weights)
            torch._foreach_abs_(gradients)
            if self.round <= 1 and _is_rounding(gradients, outputs):
                torch._foreach_zero_(gradients)
        return dict(zip(self.masks, gradients, strict=True))


def _is_rounding(scores: Sequence[Tensor], outputs: Tensor) -> bool:
    """Whether no weight matters to the sum of the outputs, as behind a softmax or a layer norm.

    What is left is the rounding of a sum that is the same for all weights.
    """
    largest = max(float(score.max()) for score in scores)
    return largest <= ROUNDING * float(outputs.abs().max())


def _one(inputs: Tensor) -> Tensor:
    """A single input of ones. Raises BenchError for integers, whose network embeds them."""
    if not inputs.is_floating_point():
        raise BenchError("SynFlow puts ones into the network, which takes integers: use another")
    return torch.ones_like(inputs[:1], dtype=torch.float64)


def _take_absolute_values(network: nn.Module) -> None:
    """Replace all tensors by their absolute values, in float64; only weights get gradients."""
    network.double().eval().requires_grad_(False)
    tensors = [t for t in network.state_dict().values() if t.is_floating_point()]
    torch._foreach_abs_(tensors)
    for _, weight in prunable(network):
        weight.requires_grad_()
