"""GraSP: gradient signal preservation (ICLR 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pai_bench import PruneAtInit, prunable, register
from pai_bench.sparsity.saliency import add_into, masked_forward
from pai_bench.training.restricted_batches import Batches


@register("grasp")
class GraSP(PruneAtInit):
    """Keep the weights whose removal would shrink the gradient's norm most: w * Hg, signed."""

    paper = "GraSP (ICLR 2020)"

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """Logits are divided by the temperature."""

        temperature: float = 200.0

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """Score by w * H g, with g the gradient summed over all batches; its scale is irrelevant.

        Scores are signed: in later rounds pruned weights score 0, above negative ones, and may
        return, as in the authors' rule.
        """
        self.check_batches(batches)
        network.train()
        # Fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            return self._products(network, batches)

    def _products(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """w * H g."""
        total: dict[str, Tensor] = {}
        for gradients, _ in self._gradients(network, batches, graph=False):
            add_into(total, gradients)
        products: dict[str, Tensor] = {}
        for gradients, weights in self._gradients(network, batches, graph=True):
            inner = torch.stack([(total[name] * gradients[name]).sum() for name in total]).sum()
            product = torch.autograd.grad(inner, list(weights.values()), materialize_grads=True)
            add_into(products, dict(zip(weights, product, strict=True)))
        return {name: weight.detach() * products[name] for name, weight in prunable(network)}

    def _gradients(
        self, network: nn.Module, batches: Batches, graph: bool
    ) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """Yield dL/dw of each batch, and the leaves w; `graph` keeps it differentiable."""
        for images, labels in batches:
            weights = {n: w.detach().clone().requires_grad_() for n, w in prunable(network)}
            logits = masked_forward(network, self.masks, weights)(images)
            loss = self.context.loss(logits / self.hyper.temperature, labels)
            gradients = torch.autograd.grad(
                loss, list(weights.values()), create_graph=graph, materialize_grads=True
            )
            yield dict(zip(weights, gradients, strict=True)), weights
