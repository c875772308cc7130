"""DessiLBI: exploring structural sparsity via differential inclusion paths (ICML 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pai_bench import Masks, SparseClassifier, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.reproductions.dessilbi import ranking, search
from pai_bench.sparsity.select import topk_masks
from pai_bench.sparsity.units import keep_units
from pai_bench.store.search_cache import Search

Tensors = Mapping[str, Tensor]


@register("dessilbi")
class DessiLBISearch(SparseClassifier):
    """Train with DessiLBI, keep the weights that entered its path first, retrain from the start.

    Not pruning at initialisation: the search is a dense training of a few epochs, charged to each
    cell. One search serves all densities and modes of a seed.
    """

    paper = "dessilbi"
    when = "path"
    trains_to_score = True
    scores_on_all_ranks = True
    changes_weights = True

    @dataclass(frozen=True)
    class Hyper:
        """Search and ranking; defaults as in the authors' MNIST recipe, but short, element-wise."""

        mode: Literal["path", "dual", "epoch", "order"] = "path"
        """Ranking of weights. `path`: by the first step in the path, ties by the dual variable.
        `dual`: by the dual variable. `epoch`: the support after the epoch whose density is nearest,
        as in the paper; the density is not exact. `order`: by the first epoch in the path, ties by
        the final weight, after the authors' toolbox."""
        scope: Literal["global", "local"] = "global"
        """Rank over all layers, or within each, as the authors' toolbox does."""
        start: Literal["initial", "projected"] = "initial"
        """Training starts from the initial weights and buffers, or from the final ones of the
        search, masked."""
        search_epochs: int = 4
        """Epochs of the search."""
        search_lr: float = 0.1
        """Learning rate of the search."""
        search_decay_every: int = 0
        """Epochs between decays of the search's learning rate to a tenth, which slow down the path
        too; 0: no decay."""
        kappa: float = 1.0
        nu: float = 20.0
        lam: float = 0.3
        """Threshold for convolutions. The authors' recipe has 1, at which hardly any weight enters
        the path of a short search; their element-wise searches on CIFAR-10 have .03 and .05."""
        fc_lam: float = 0.3
        """Threshold for linear layers; 1 in the authors' group searches."""
        prox: Literal["l1", "filter", "filter_sqrt"] = "l1"
        momentum: float = 0.9
        nesterov: bool = False
        weight_decay: float = 0.0
        wd_rule: Literal["core", "lottery"] = "core"
        coupling_in_momentum: bool = False
        """False: the coupling to Gamma is added after the momentum, as in the authors' code."""

        def __post_init__(self) -> None:
            if self.search_epochs < 1 or self.search_decay_every < 0:
                raise BenchError(
                    "search_epochs must be at least 1 and search_decay_every at least 0, got "
                    f"{self.search_epochs} and {self.search_decay_every}"
                )

    def sparsify(self, batches: Any) -> Masks:
        """Search, or load the search from the search cache, and choose masks from its path."""
        state = self.get_or_compute(self._settings(), lambda: self._search(batches))
        if self.hyper.mode == "epoch":
            masks = self._support(state)
        else:
            masks = self._keep(self._scores(state))
        if self.hyper.start == "projected":
            self.network.load_state_dict(state["network"])
        return masks

    @property
    def most_density(self) -> float:
        """A support of the path is as dense as it is."""
        return 1.0 if self.hyper.mode == "epoch" else super().most_density

    def _settings(self) -> dict[str, Any]:
        return {key: getattr(self.hyper, key) for key in search.SETTINGS}

    def _search(self, batches: Any) -> Search:
        with self.context.rng.as_global("score"):
            recipe, checkpoint = self.context.recipe, self.search_checkpoint
            return search.search(self.network, recipe, batches, self.hyper, checkpoint)

    def _scores(self, state: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Scores of the weights' shapes, or (out, 1, ...) for grouped filters; highest are kept."""
        prox = self.hyper.prox
        names = [name for name, _ in prunable(self.network)]
        levels = {
            n: ranking.level(state["dual"][n], prox, self._lam(state["dual"][n])) for n in names
        }
        if self.hyper.mode == "dual":
            scores = levels
        elif self.hyper.mode == "path":
            entry = {n: ranking.earliest(state["first_step"][n], prox) for n in names}
            scores = ranking.lexicographic(entry, levels)
        else:
            sizes = {n: ranking.magnitude(state["network"][n], prox) for n in names}
            scores = ranking.lexicographic(self._first_epochs(state, names), sizes)
        return self.ranked({name: score.to(self.device) for name, score in scores.items()})

    def _lam(self, weight: Tensor) -> float:
        return float(self.hyper.fc_lam if weight.dim() == 2 else self.hyper.lam)

    def _keep(self, scores: Tensors) -> Masks:
        """Keep exactly the target number of weights; a grouped filter may be kept in part."""
        shaped = {name: scores[name].expand(w.shape) for name, w in prunable(self.network)}
        return topk_masks(shaped, self.context.density, scope=self.hyper.scope)

    def _first_epochs(self, state: Mapping[str, Any], names: list[str]) -> dict[str, Tensor]:
        """First epoch after which each weight, or filter, is in the support; inf for never."""
        first = {name: torch.full_like(state["dual"][name], torch.inf) for name in names}
        for epoch, support in enumerate(state["supports"]):
            for name, entry in first.items():
                selected = search.unpacked(support[name], entry.shape)
                entry[selected & entry.isinf()] = epoch
        return {name: ranking.earliest(entry, self.hyper.prox) for name, entry in first.items()}

    def _support(self, state: Mapping[str, Any]) -> Masks:
        """The support after the epoch whose density is nearest, the earlier one of two."""
        if self.context.sanity_check == "invert":
            raise BenchError("mode=epoch ranks no weights, which the check `invert` needs")
        shapes = {name: weight.shape for name, weight in prunable(self.network)}
        supports = (
            Masks({n: search.unpacked(bits[n], shape) for n, shape in shapes.items()})
            for bits in state["supports"]
        )
        nearest = min(supports, key=lambda masks: abs(masks.density() - self.context.density))
        return Masks({name: mask.to(self.device) for name, mask in nearest.items()})


@register("dessilbi-filters")
class DessiLBIFilters(DessiLBISearch):
    """DessiLBI with a group per filter: keep whole filters, and single weights of linear layers.

    Filters are kept in order of rank as long as they fit: the density is below the target by less
    than one filter.
    """

    exact_density = False

    @dataclass(frozen=True)
    class Hyper(DessiLBISearch.Hyper):
        """Search and ranking; defaults as in the authors' search for sparse filters, but short."""

        nu: float = 100.0
        lam: float = 0.05
        fc_lam: float = 0.05
        """The authors have 1, which leaves linear layers dense; here they compete with filters."""
        prox: Literal["filter", "filter_sqrt"] = "filter_sqrt"
        nesterov: bool = True
        weight_decay: float = 1e-4
        wd_rule: Literal["core", "lottery"] = "lottery"

    def _keep(self, scores: Tensors) -> Masks:
        """Keep whole filters, and single weights of linear layers."""
        shapes = {name: tuple(weight.shape) for name, weight in prunable(self.network)}
        return keep_units(scores, shapes, self.context.density, self.hyper.scope)
