"""SynFlow: pruning without data by conserving synaptic flow (NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pai_bench.methods.base import Batches, PruneAtInit
from pai_bench.methods.registry import register
from pai_bench.sparsity.masks import prunable


@register("synflow")
class SynFlow(PruneAtInit):
    """Keep the weights through which most flows in the network of absolute values."""

    paper = "SynFlow (NeurIPS 2020)"
    needs_data = False
    needs_labels = False

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """100 rounds, as published."""

        rounds: int = 100

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """|w dR/dw|, R the sum of logits for an input of ones, in evaluation mode.

        In float64: deep networks overflow float32 (ResNet-50 at 224 pixels does).
        """
        self.check_batches(batches)
        network.double().eval().requires_grad_(False)
        tensors = [t for t in network.state_dict().values() if t.is_floating_point()]
        torch._foreach_abs_(tensors)
        self.masks.apply(network)
        weights = {name: weight.requires_grad_() for name, weight in prunable(network)}
        flow = network(torch.ones_like(batches[0][0][:1], dtype=torch.float64)).sum()
        gradients = torch.autograd.grad(flow, list(weights.values()), materialize_grads=True)
        return {
            name: (weight.detach() * gradient).abs()
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
        }
