"""SynFlow: pruning without data by conserving synaptic flow (NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pai_bench.methods.base import Batches, PruneAtInit
from pai_bench.methods.registry import register
from pai_bench.sparsity.saliency import float_masks, mask_gradients, masked_forward


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
        network.double().eval()
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.abs_()
        ones = torch.ones_like(batches[0][0][:1], dtype=torch.float64)
        masks = float_masks(self.masks, network)
        flow = masked_forward(network, masks)(ones).sum()
        gradients = mask_gradients(flow, masks)
        return {name: (gradients[name] * self.masks[name]).abs() for name in gradients}
