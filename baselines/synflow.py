"""SynFlow: pruning without data by conserving synaptic flow (NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pai_bench import PruneAtInit, prunable, register
from pai_bench.training.restricted_batches import Batches


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
        flow = network(torch.ones_like(batches[0][0][:1], dtype=torch.float64)).sum()
        gradients = torch.autograd.grad(flow, weights, materialize_grads=True)
        with torch.no_grad():
            torch._foreach_mul_(gradients, weights)
            torch._foreach_abs_(gradients)
        return dict(zip(self.masks, gradients, strict=True))


def _take_absolute_values(network: nn.Module) -> None:
    """Replace all tensors by their absolute values, in float64; only weights get gradients."""
    network.double().eval().requires_grad_(False)
    tensors = [t for t in network.state_dict().values() if t.is_floating_point()]
    torch._foreach_abs_(tensors)
    for _, weight in prunable(network):
        weight.requires_grad_()
