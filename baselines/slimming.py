"""Filters by the scales of their batch norms, after network slimming (ICCV 2017)."""

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
from pai_bench.training import optimizer
from pai_bench.training.loop import train


@register("slimming")
class Slimming(SparseClassifier):
    """Train with an l1 penalty on batch-norm scales, keep the filters of the largest, retrain.

    After Liu et al. (ICCV 2017), with these differences: the penalty acts by its proximal map, and
    what is left starts again from the initial weights. Filters whose output goes into a batch norm
    are ranked together; layers without one keep single weights, the largest after that training,
    at the same density each. One penalised training serves all densities of a seed.
    """

    paper = "network slimming (ICCV 2017)"
    when = "path"
    trains_to_score = True
    exact_density = False

    @dataclass(frozen=True)
    class Hyper:
        """The strength of the penalty lam * sum |scale|; 1e-4 is the paper's for VGG."""

        lam: float = 1e-4

        def __post_init__(self) -> None:
            if self.lam < 0:
                raise BenchError(f"lam must be at least 0, got {self.lam:g}")

    def sparsify(self, batches: Any) -> Masks:
        """Train with the penalty, or take what another cell has trained, and keep the largest."""
        found = self.get_or_compute({"lam": self.hyper.lam}, lambda: self._penalised(batches))
        scores = self.ranked({n: s.to(self.device) for n, s in found["scores"].items()})
        shapes = {name: tuple(weight.shape) for name, weight in prunable(self.network)}
        filters = {n: s for n, s in scores.items() if n in found["scaled"]}
        weights = {n: s for n, s in scores.items() if n not in filters}
        density = self.context.density
        kept: dict[str, Tensor] = {}
        if filters:
            kept |= keep_units(filters, {n: shapes[n] for n in filters}, density)
        if weights:
            kept |= topk_masks(weights, density, scope="local")
        return Masks({name: kept[name] for name in shapes})

    def _penalised(self, batches: Any) -> Search:
        """Train a copy by the recipe, with a proximal step on the scales after each of its own."""
        network, recipe = copy.deepcopy(self.network), self.context.recipe
        images, _ = next(iter(batches))
        scales = scales_by_layer(network, images[:2])
        chosen = optimizer.optimizer(network, recipe)
        with self.context.rng.as_global("score"):
            effort = train(
                network,
                Masks.ones(network),
                recipe,
                batches,
                self._prox(list(scales.values()), chosen),
                chosen,
            )
        scores = {
            name: scales[name].detach().abs().view(-1, *[1] * (weight.dim() - 1)).cpu()
            if name in scales
            else weight.detach().abs().cpu()
            for name, weight in prunable(network)
        }
        return Search({"scores": scores, "scaled": list(scales)}, effort.flops)

    def _prox(self, scales: list[Tensor], of: torch.optim.Optimizer) -> Callable[[int], None]:
        """What is done after each step, at the learning rate of that step."""

        @torch.no_grad()
        def shrink(_step: int) -> None:
            threshold = float(of.param_groups[0]["lr"]) * self.hyper.lam
            for scale in scales:
                scale.copy_(scale.sign() * (scale.abs() - threshold).clamp_(min=0))

        return shrink


def scales_by_layer(network: nn.Module, images: Tensor) -> Mapping[str, Tensor]:
    """Weight name of each prunable convolution -> scale of the batch norm that reads its output.

    Read from a pass of `images` (N, ...) in evaluation mode: whatever the network's own code, what
    a batch norm is given is the very tensor that a convolution has put out.
    """
    said: list[tuple[str, Tensor]] = []
    found: dict[str, Tensor] = {}
    names = dict(prunable(network))

    def note(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _layer, _inputs, output: said.append((name, output))

    def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        for name, output in said:
            if output is inputs[0] and isinstance(norm.weight, Tensor):
                found[name] = norm.weight

    hooks = [
        layer.register_forward_hook(note(weight_name(name)))
        for name, layer in layers(network)
        if weight_name(name) in names and layer.weight.dim() > 2
    ]
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    hooks += [norm.register_forward_pre_hook(look) for norm in norms]
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            network.eval()(images.to(next(network.parameters()).dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return found
