"""Network slimming: prune filters by the scales of their batch norms (ICCV 2017)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pai_bench import Masks, SparseClassifier, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.sparsity.account import BATCH_NORMS
from pai_bench.sparsity.masks import layers, weight_name
from pai_bench.sparsity.select import topk_masks
from pai_bench.sparsity.units import keep_units
from pai_bench.store.search_cache import Search
from pai_bench.training.loop import train
from pai_bench.training.optimizer import build_optimizer


@register("slimming")
class Slimming(SparseClassifier):
    """Train with an l1 penalty on batch-norm scales, keep the filters of the largest, retrain.

    After Liu et al. (ICCV 2017), with these differences: the penalty acts by its proximal map, and
    the pruned network is retrained from the initial weights. Filters whose output goes into a
    batch norm are ranked together; layers without one keep single weights, the largest after that
    training, at the same density each. One penalised training serves all densities of a seed.
    """

    paper = "network slimming (ICCV 2017)"
    when = "path"
    trains_to_score = True
    exact_density = False

    @dataclass(frozen=True)
    class Hyper:
        """The penalty lam * sum |scale|."""

        lam: float = 1e-4
        """Strength of the penalty; the paper's value for VGG."""

        def __post_init__(self) -> None:
            if self.lam < 0:
                raise BenchError(f"lam must be at least 0, got {self.lam:g}")

    def sparsify(self, batches: Any) -> Masks:
        """Train with the penalty, or load that training from the search cache; rank by scale."""
        state = self.get_or_compute({"lam": self.hyper.lam}, lambda: self._penalised(batches))
        scores = self.ranked({n: s.to(self.device) for n, s in state["scores"].items()})
        shapes = {name: tuple(weight.shape) for name, weight in prunable(self.network)}
        filters = {n: s for n, s in scores.items() if n in state["scaled"]}
        weights = {n: s for n, s in scores.items() if n not in filters}
        density = self.context.density
        masks: dict[str, Tensor] = {}
        if filters:
            masks |= keep_units(filters, {n: shapes[n] for n in filters}, density)
        if weights:
            masks |= topk_masks(weights, density, scope="local")
        return Masks({name: masks[name] for name in shapes})

    def _penalised(self, batches: Any) -> Search:
        """Train a copy by the recipe, with a proximal step on scales after each optimizer step."""
        network, recipe = copy.deepcopy(self.network), self.context.recipe
        images, _ = next(iter(batches))
        scales = scales_by_layer(network, images[:2])
        optimizer = build_optimizer(network, recipe)
        with self.context.rng.as_global("score"):
            prox = self._prox(list(scales.values()), optimizer)
            effort = train(
                network, Masks.ones(network), recipe, batches, prox, optimizer,
                checkpoint=self.search_checkpoint,
            )  # fmt: skip
        scores = {
            name: scales[name].detach().abs().view(-1, *[1] * (weight.dim() - 1)).cpu()
            if name in scales
            else weight.detach().abs().cpu()
            for name, weight in prunable(network)
        }
        return Search({"scores": scores, "scaled": list(scales)}, effort.flops)

    def _prox(
        self, scales: list[Tensor], optimizer: torch.optim.Optimizer
    ) -> Callable[[int], None]:
        """Callback that applies the proximal map after a step, at that step's learning rate."""

        @torch.no_grad()
        def shrink(_step: int) -> None:
            threshold = float(optimizer.param_groups[0]["lr"]) * self.hyper.lam
            for scale in scales:
                scale.copy_(scale.sign() * (scale.abs() - threshold).clamp_(min=0))

        return shrink


def scales_by_layer(network: nn.Module, images: Tensor) -> Mapping[str, Tensor]:
    """Find the batch norm that reads the output of each prunable convolution.

    They are matched in a forward pass of `images` (N, C, H, W) in evaluation mode: whatever the
    network's code, the input of a batch norm is the very tensor that its convolution returned.

    Returns:
        Weight name of the convolution -> scale (channels,) of its batch norm.
    """
    outputs: list[tuple[str, Tensor]] = []
    scales: dict[str, Tensor] = {}
    names = dict(prunable(network))

    def record_output(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _layer, _inputs, output: outputs.append((name, output))

    def match_input(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        for name, output in outputs:
            if output is inputs[0] and isinstance(norm.weight, Tensor):
                scales[name] = norm.weight

    hooks = [
        layer.register_forward_hook(record_output(weight_name(name)))
        for name, layer in layers(network)
        if weight_name(name) in names and layer.weight.dim() > 2
    ]
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    hooks += [norm.register_forward_pre_hook(match_input) for norm in norms]
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            network.eval()(images.to(next(network.parameters()).dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return scales
