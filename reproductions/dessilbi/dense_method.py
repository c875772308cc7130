"""Dense networks trained by DessiLBI, and what is left of them without training again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pai_bench import SparseClassifier, prunable, register
from pai_bench.core.errors import BenchError, unknown
from pai_bench.reproductions.dessilbi import toolbox
from pai_bench.reproductions.dessilbi.optimizer import DessiLBI
from pai_bench.reproductions.dessilbi.search import OPTIONS
from pai_bench.sparsity.masks import layers, weight_name
from pai_bench.sparsity.units import per_filter
from pai_bench.training.evaluation import accuracy
from pai_bench.training.optimizer import build_schedule

PERCENT = (10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95)
"""Percentages of a layer that are pruned, one after the other, from the same trained network."""


@register("dessilbi-dense")
class DessiLBIDense(SparseClassifier):
    """Train a dense network by DessiLBI; measure its support, and what pruning leaves of it.

    The optimizer is the method's, learning rates and length are the recipe's. The accuracy of the
    result is that of the dense weights. `measured` has, of the same network at the end: accuracy
    with weights projected on the support, and with Gamma in their place; units of the support by
    layer, and by the epoch, from 0, at whose end they were first in it; numbers of units that are
    large, and norms of filters; and accuracy and units left after pruning by order, as the
    authors' toolbox does it. Units are filters of convolutions and single weights of linear layers.
    """

    paper = "dessilbi"
    prunes = False
    needs_data = False
    needs_labels = False

    @dataclass(frozen=True)
    class Hyper:
        """The optimizer's options, as in the authors' MNIST recipe."""

        kappa: float = 1.0
        nu: float = 20.0
        lam: float = 1.0
        fc_lam: float = 1.0
        prox: Literal["l1", "filter", "filter_sqrt"] = "filter"
        momentum: float = 0.9
        nesterov: bool = False
        weight_decay: float = 0.0
        wd_rule: Literal["core", "lottery"] = "core"
        coupling_in_momentum: bool = False
        split: str = ""
        """Layers that have a Gamma, as `conv3,fc1`; all unless given, and by `none` no layer: then
        a step is that of SGD."""
        prune: str = ""
        """Layers that are pruned by order at the end, as `conv3,fc1`: the first alone, then all."""

    def __init__(self, *arguments: Any, **hyper: Any) -> None:
        super().__init__(*arguments, **hyper)
        known = dict(layers(self.network))
        chosen = {"": ",".join(known), "none": ""}.get(self.hyper.split, self.hyper.split)
        split, self._pruned = _listed(chosen, known), _listed(self.hyper.prune, known)
        if not set(self._pruned) <= set(split):
            raise BenchError(f"prune: {self.hyper.prune}, but only {chosen} have a Gamma")
        weights = dict(self.network.named_parameters())
        self._entered = {
            weight_name(name): torch.full_like(weights[weight_name(name)], toolbox.NEVER)
            for name in split
        }
        """First epoch at whose end each element was in the support."""

    def configure_optimizers(self) -> Any:
        """Build DessiLBI's optimizer, and the learning-rate schedule of the recipe."""
        recipe, data = self.context.recipe, self.trainer.datamodule  # type: ignore[attr-defined]
        options = {key: getattr(self.hyper, key) for key in OPTIONS}
        named = self.network.named_parameters()
        optimizer = DessiLBI(named, recipe.lr, split=list(self._entered), **options)
        schedule = build_schedule(optimizer, recipe, len(data.train_dataloader()))
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_epoch_end(self) -> None:
        """Note what has entered the support."""
        for name, gamma in self._gammas().items():
            entered = self._entered[name].to(gamma.device)
            self._entered[name] = toolbox.note_epoch(entered, gamma, self.current_epoch)

    def on_train_end(self) -> None:
        """Measure what the path has left."""
        weights = {name: weight.detach() for name, weight in self._weights().items()}
        everywhere = {name: weight.detach() for name, weight in prunable(self.network)}
        gammas = self._gammas()
        self.measured = {
            "accuracy": {
                "weights": self._accuracy({}),
                "projected": self._accuracy({n: w * (gammas[n] != 0) for n, w in weights.items()}),
                "sparse-copy": self._accuracy(gammas),
            },
            "support": self._support(gammas),
            "entered": {_layer(n): _by_epoch(_units(e)) for n, e in self._entered.items()},
            "large": {_layer(name): _large(weight) for name, weight in everywhere.items()},
            "norms": {
                _layer(name): _norms(weight, gammas.get(name, torch.ones_like(weight)))
                for name, weight in everywhere.items()
                if weight.dim() > 2
            },
            "pruned": self._after_pruning(),
        }

    def _support(self, gammas: Mapping[str, Tensor]) -> dict[str, int]:
        """Count the units of each layer, and the weights of all, that are in the support."""
        units = {_layer(name): int((_units(g != 0)).sum()) for name, g in gammas.items()}
        return {**units, "total": sum(int((gamma != 0).sum()) for gamma in gammas.values())}

    def _after_pruning(self) -> dict[str, dict[str, list[float]]]:
        """Prune more and more of the first layer, then of all layers: accuracy, units left."""
        measured = {}
        for count in dict.fromkeys((1, len(self._pruned))) if self._pruned else ():
            names = self._pruned[:count]
            measured["+".join(names)] = {str(p): self._pruned_by(names, p) for p in PERCENT}
        return measured

    def _pruned_by(self, names: list[str], percent: int) -> list[float]:
        """Accuracy, and units left of each layer.

        In single precision: there, as in the authors' code, weights that never entered and are
        small have equal scores.
        """
        parameters = {n: p.detach() for n, p in self.network.named_parameters()}
        changed: dict[str, Tensor] = {}
        left = []
        for name in names:
            key, bias = weight_name(name), parameters.get(f"{name}.bias")
            order = toolbox.prune_order(parameters[key], self._entered[key]).float()
            changed[key], pruned_bias = toolbox.pruned(parameters[key], bias, order, percent)
            if pruned_bias is not None:
                changed[f"{name}.bias"] = pruned_bias
            left.append(int(_units(changed[key] != 0).sum()))
        return [self._accuracy(changed), *left]

    def _accuracy(self, changed: Mapping[str, Tensor]) -> float:
        """Test accuracy with some parameters replaced."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        with _replaced(dict(self.network.named_parameters()), changed):
            return accuracy(self, data.val_dataloader())

    def _weights(self) -> dict[str, Tensor]:
        parameters = dict(self.network.named_parameters())
        return {name: parameters[name] for name in self._entered}

    def _gammas(self) -> dict[str, Tensor]:
        (optimizer,) = self.trainer.optimizers
        return {name: optimizer.state[w]["gamma"] for name, w in self._weights().items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the epochs of entry too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["entered"] = self._entered

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epochs of entry too."""
        super().on_load_checkpoint(checkpoint)
        self._entered = dict(checkpoint["entered"])


@contextmanager
def _replaced(parameters: Mapping[str, Tensor], changed: Mapping[str, Tensor]) -> Iterator[None]:
    """Give parameters other values for a while."""
    before = {name: parameters[name].detach().clone() for name in changed}
    with torch.no_grad():
        for name, value in changed.items():
            parameters[name].copy_(value)
        try:
            yield
        finally:
            for name, value in before.items():
                parameters[name].copy_(value)


def _listed(names: str, known: Mapping[str, Any]) -> list[str]:
    """Split a list of layers. Raises BenchError for one that the network does not have."""
    listed = [name.strip() for name in names.split(",") if name.strip()]
    for name in listed:
        if name not in known:
            raise unknown("layer", name, known, "dessilbi-dense: ")
    return listed


def _layer(weight: str) -> str:
    return weight.removesuffix(".weight")


def _units(marked: Tensor) -> Tensor:
    """Reduce to one element a filter, the largest (booleans), or the earliest (epochs)."""
    if marked.dim() <= 2:
        return marked.flatten()
    flat = marked.flatten(1)
    return flat.any(1) if marked.dtype == torch.bool else flat.amin(1)


def _by_epoch(entered: Tensor) -> dict[str, int]:
    """Count units by the epoch of their entry; those that never entered under `never`."""
    epochs, counts = entered.unique(return_counts=True)
    by_epoch = zip(epochs.tolist(), counts.tolist(), strict=True)
    return {"never" if e == toolbox.NEVER else str(int(e)): count for e, count in by_epoch}


def _large(weight: Tensor) -> int:
    """Count filters whose norm is at least .01, or weights of linear layers of at least .001."""
    if weight.dim() > 2:
        return int((per_filter(weight) >= 0.01).sum())
    return int((weight.abs() >= 0.001).sum())


def _norms(weight: Tensor, gamma: Tensor) -> dict[str, list[float]]:
    """Smallest and largest norm of the filters in the support and outside of it."""
    norms, selected = per_filter(weight).flatten(), _units(gamma != 0)
    parts = {"selected": norms[selected], "others": norms[~selected]}
    return {key: [float(n.min()), float(n.max())] for key, n in parts.items() if n.numel()}
