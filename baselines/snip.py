"""SNIP: Single-shot Network Pruning based on Connection Sensitivity (ICLR 2019)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pai_bench.methods.base import Batches, PruneAtInit
from pai_bench.methods.registry import register
from pai_bench.sparsity.saliency import add_into, float_masks, mask_gradients, masked_forward


@register("snip")
class SNIP(PruneAtInit):
    """Keep the weights whose removal would change the loss most: |dL/dm|."""

    paper = "SNIP (ICLR 2019)"

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """|sum over batches of dL/dm|, L the mean cross-entropy, batch norm in training mode."""
        self.check_batches(batches)
        network.train()
        total: dict[str, Tensor] = {}
        for images, labels in batches:
            masks = float_masks(self.masks, network)
            loss = cross_entropy(masked_forward(network, masks)(images), labels)
            add_into(total, mask_gradients(loss, masks))
        return {name: gradient.abs() for name, gradient in total.items()}
