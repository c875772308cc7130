"""GraSP: gradient signal preservation (ICLR 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pai_bench import PruneAtInit, prunable, register
from pai_bench.core.xla import is_xla
from pai_bench.networks.directional import is_chain, outputs_along
from pai_bench.networks.recompute import is_large, recompute_activations
from pai_bench.sparsity.saliency import masked_forward, sum_over
from pai_bench.training.restricted_batches import Batches


@register("grasp")
class GraSP(PruneAtInit):
    """Keep the weights whose removal would shrink the gradient's norm most: w * Hg, signed."""

    paper = "GraSP (ICLR 2020)"
    scores_on_all_ranks = True

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
        if is_large(batches[0][0]):
            recompute_activations(network)
        # Fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            return self._products(network, batches)

    def _products(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """w * H g."""

        def gradient(_number: int, images: Any, labels: Any) -> dict[str, Tensor]:
            return self._gradients(network, images, labels, graph=False)[0]

        total = sum_over(batches, gradient, prunable(network))

        def product(_number: int, images: Any, labels: Any) -> dict[str, Tensor]:
            if is_large(images) and is_chain(network) and not is_xla(images):
                return self._product_along(network, total, images, labels)
            gradients, weights = self._gradients(network, images, labels, graph=True)
            inner = torch.stack([(total[name] * gradients[name]).sum() for name in total]).sum()
            values = torch.autograd.grad(inner, list(weights.values()), materialize_grads=True)
            return dict(zip(weights, values, strict=True))

        products = sum_over(batches, product, prunable(network))
        return {name: weight.detach() * products[name] for name, weight in prunable(network)}

    def _product_along(
        self, network: nn.Module, direction: Mapping[str, Tensor], images: Any, labels: Any
    ) -> dict[str, Tensor]:
        """H times a direction, of a batch whose activations need too much memory to be kept."""
        weights = {n: w.detach().clone().requires_grad_() for n, w in prunable(network)}
        logits, change = outputs_along(
            network,
            {name: weight * self.masks[name] for name, weight in weights.items()},
            {name: direction[name] * self.masks[name] for name in weights},
            images,
        )
        loss = self.context.loss(logits / self.hyper.temperature, labels)
        (upper,) = torch.autograd.grad(loss, logits, create_graph=True)
        values = torch.autograd.grad(
            (upper * change).sum(), list(weights.values()), materialize_grads=True
        )
        return dict(zip(weights, values, strict=True))

    def _gradients(
        self, network: nn.Module, images: Any, labels: Any, graph: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return dL/dw of a batch, and the leaves w; `graph` keeps it differentiable."""
        weights = {n: w.detach().clone().requires_grad_() for n, w in prunable(network)}
        logits = masked_forward(network, self.masks, weights)(images)
        loss = self.context.loss(logits / self.hyper.temperature, labels)
        gradients = torch.autograd.grad(
            loss, list(weights.values()), create_graph=graph, materialize_grads=True
        )
        return dict(zip(weights, gradients, strict=True)), weights
