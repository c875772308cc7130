"""DessiLBI's optimizer: split linearized Bregman iterations (ICML 2020, and the authors' code)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from pai_bench import Masks
from pai_bench.core.errors import BenchError, unknown
from pai_bench.reproductions.dessilbi import ranking
from pai_bench.sparsity.select import topk_masks
from pai_bench.sparsity.units import per_filter

Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]
Group = dict[str, Any]

DEFAULTS: dict[str, Any] = {
    "kappa": 1.0,
    "nu": 100.0,
    "lam": 1.0,
    "fc_lam": None,
    "prox": "filter",
    "momentum": 0.9,
    "dampening": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "wd_rule": "core",
    "coupling_in_momentum": False,
}
"""The options of a group and the values of the authors' optimizer class."""
CHOICES = {"prox": ("l1", "filter", "filter_sqrt"), "wd_rule": ("core", "lottery")}


class DessiLBI(torch.optim.Optimizer):
    """Train weights W together with a sparse copy Gamma of them that grows from 0.

    The class is long because one step is here in all the variants of the authors' three code bases,
    each compared with their vectors; a shorter one would spread one update over several places.

    A step at learning rate a updates each split parameter as follows, with all values on the right
    from before the step, and d the gradient after weight decay and momentum:

        W     <-  W - kappa a d - (kappa a / nu) (W - Gamma)
        Z     <-  Z + (a / nu) (W - Gamma)
        Gamma <-  kappa prox(Z)

    Other parameters: W <- W - kappa a d. Important weights enter Gamma early: the order is the
    regularisation path. Options, also by parameter group:

    - `kappa`, `nu`: damping, and inverse strength of the coupling (`mu` in the authors' code);
    - `lam`: threshold of the prox; `fc_lam`: that of linear weights, the same unless given (the
      authors' group optimizer for tickets always uses 1);
    - `prox` of convolutions: element-wise (`l1`), or a group per output filter, thresholded by its
      norm (`filter`) or its root mean square (`filter_sqrt`); linear weights are element-wise;
    - `momentum`, `dampening`, `nesterov` as in SGD, of the gradient of the loss alone: the coupling
      is added after it, unless `coupling_in_momentum`;
    - `weight_decay` by the rule `core`, all but vectors and names with "bn", added to the momentum
      buffer undamped; or `lottery`, all but names with "bias", added to the gradient. Both need
      `network.named_parameters()` for `params`.

    `split` names the parameters that have a Gamma; unless given, all with 2 or 4 dimensions. Their
    state is `z`, `gamma` and `first_step`, the number of the step, from 1, at which each element of
    Gamma was first not 0 (inf: never).

    Raises BenchError for impossible options, such as kappa lr / nu >= 1, at which W - Gamma grows
    without bound where Gamma is not 0.
    """

    def __init__(
        self, params: Parameters, lr: float, split: Collection[str] | None = None, **options: Any
    ) -> None:
        for key in options.keys() - DEFAULTS.keys():
            raise unknown("option", key, DEFAULTS, "DessiLBI: ")
        self._names = None if split is None else frozenset(split)
        self._unprojected: list[Tensor] | None = None
        super().__init__(params, {"lr": lr, **DEFAULTS, **options, "steps": 0})
        for name in sorted((self._names or frozenset()) - {name for name, _ in self._split()}):
            raise BenchError(f"DessiLBI: split names {name}, which is not among the parameters")

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, check its options, and start Z and Gamma of its split parameters at 0."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        _check(group)
        self._check_names()
        for name, parameter in _named(group):
            if name in self._names if self._names is not None else parameter.dim() in (2, 4):
                _check_split(name, parameter)
                self.state[parameter] = {
                    "z": torch.zeros_like(parameter, requires_grad=False),
                    "gamma": torch.zeros_like(parameter, requires_grad=False),
                    "first_step": torch.full_like(parameter, math.inf, requires_grad=False),
                }

    def _check_names(self) -> None:
        """Raise BenchError if two parameters have one name: results are told apart by names."""
        names = Counter(name for group in self.param_groups for name, _ in _named(group) if name)
        for name in sorted(name for name, count in names.items() if count > 1):
            raise BenchError(
                f"DessiLBI: {name} names two parameters; give those of each group names of the "
                "whole network"
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state. Raises BenchError if it is that of another optimizer."""
        for number, group in enumerate(state_dict.get("param_groups", [{}])):
            for key in sorted(DEFAULTS.keys() - group.keys()):
                raise BenchError(
                    f"DessiLBI: the state is that of another optimizer: group {number} has no {key}"
                )
        super().load_state_dict(state_dict)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled or loaded state, which lacks the attributes of this class."""
        super().__setstate__(state)
        self.__dict__.setdefault("_names", None)
        self.__dict__.setdefault("_unprojected", None)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Do one step. Raises BenchError while the weights are projected."""
        if self._unprojected is not None:
            raise BenchError("the weights are projected; restore() them before the next step")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["steps"] += 1
            named = [(n, p) for n, p in _named(group) if p.grad is not None]
            if named:
                self._step(group, named)
        return loss

    def _step(self, group: Group, named: list[tuple[str, Tensor]]) -> None:
        weights = [p for _, p in named]
        indices = [i for i, p in enumerate(weights) if "z" in self.state[p]]
        split = [weights[i] for i in indices]
        gaps = _foreach("sub", split, self._of("gamma", split))
        rate, coupling = group["kappa"] * group["lr"], group["lr"] / group["nu"]
        gradients = [p.grad for p in weights if p.grad is not None]
        if group["coupling_in_momentum"]:
            gradients = _added(gradients, indices, gaps, 1 / group["nu"])
        torch._foreach_add_(weights, self._directions(group, named, gradients), alpha=-rate)
        if not split:
            return
        if not group["coupling_in_momentum"]:
            torch._foreach_add_(split, gaps, alpha=-group["kappa"] * coupling)
        torch._foreach_add_(self._of("z", split), gaps, alpha=coupling)
        self._threshold(group, split)
        self._record_entries(group, split)

    def _directions(
        self, group: Group, named: list[tuple[str, Tensor]], gradients: list[Tensor]
    ) -> list[Tensor]:
        """The gradients after weight decay and momentum, in the order of the rule."""
        weights, decay = [p for _, p in named], group["weight_decay"]
        indices = [i for i, (n, p) in enumerate(named) if decay and _decays(group["wd_rule"], n, p)]
        decaying = [weights[i] for i in indices]
        decayed = _added(gradients, indices, decaying, decay)
        if not group["momentum"]:
            return decayed
        core = group["wd_rule"] == "core"
        buffers = self._accumulated(group, weights, gradients if core else decayed)
        if core and indices:
            torch._foreach_add_([buffers[i] for i in indices], decaying, alpha=decay)
        if group["nesterov"]:
            return list(torch._foreach_add(decayed, buffers, alpha=group["momentum"]))
        return buffers

    def _accumulated(
        self, group: Group, weights: list[Tensor], gradients: list[Tensor]
    ) -> list[Tensor]:
        """Update the momentum buffers; they start as the first gradient, undamped."""
        first = [i for i, p in enumerate(weights) if "momentum_buffer" not in self.state[p]]
        later = [i for i in range(len(weights)) if i not in set(first)]
        for i in first:
            self.state[weights[i]]["momentum_buffer"] = gradients[i].clone()
        buffers = self._of("momentum_buffer", weights)
        if later:
            old, new = [buffers[i] for i in later], [gradients[i] for i in later]
            torch._foreach_mul_(old, group["momentum"])
            torch._foreach_add_(old, new, alpha=1 - group["dampening"])
        return buffers

    def _threshold(self, group: Group, split: list[Tensor]) -> None:
        """Gamma <- kappa prox(Z)."""
        for grouped in (False, True):
            weights = [p for p in split if ranking.is_grouped(p, group["prox"]) == grouped]
            if not weights:
                continue
            gammas, duals = self._of("gamma", weights), self._of("z", weights)
            lams = [_threshold_of(group, p) for p in weights]
            torch._foreach_copy_(gammas, duals)
            if grouped:
                scales = [per_filter(z) for z in duals]
                torch._foreach_reciprocal_(scales)
                torch._foreach_mul_(scales, [-lam for lam in lams])
                torch._foreach_add_(scales, 1.0)
                torch._foreach_clamp_min_(scales, 0.0)
                torch._foreach_mul_(gammas, scales)
            else:
                inner = torch._foreach_clamp_max(duals, lams)
                torch._foreach_clamp_min_(inner, [-lam for lam in lams])
                torch._foreach_sub_(gammas, inner)
            torch._foreach_mul_(gammas, group["kappa"])

    def _record_entries(self, group: Group, split: list[Tensor]) -> None:
        """first_step <- min(first_step, this step where Gamma is not 0, else inf)."""
        entered = torch._foreach_sign(torch._foreach_abs(self._of("gamma", split)))
        torch._foreach_reciprocal_(entered)
        torch._foreach_mul_(entered, float(group["steps"]))
        torch._foreach_minimum_(self._of("first_step", split), entered)

    def support(self) -> dict[str, Tensor]:
        """Return where Gamma is not exactly 0: parameter name -> bool tensor of its shape."""
        return {name: self.state[p]["gamma"] != 0 for name, p in self._split()}

    @torch.no_grad()
    def project(self) -> None:
        """Set W to 0 where Gamma is 0, until `restore`. Raises BenchError if it is already."""
        if self._unprojected is not None:
            raise BenchError("the weights are projected already")
        self._unprojected = [p.detach().clone() for _, p in self._split()]
        for _, p in self._split():
            p.mul_(self.state[p]["gamma"] != 0)

    @torch.no_grad()
    def restore(self) -> None:
        """Undo `project`. Raises BenchError if the weights are not projected."""
        if self._unprojected is None:
            raise BenchError("the weights are not projected: there is nothing to restore")
        for (_, p), weight in zip(self._split(), self._unprojected, strict=True):
            p.copy_(weight)
        self._unprojected = None

    def rank(self, mode: Literal["path", "dual"] = "path") -> dict[str, Tensor]:
        """Score each split weight for pruning; the highest are kept.

        Args:
            mode: `dual` scores by |Z| in units of the threshold; `path` by the first step in
                Gamma, then by `dual`, with no two scores equal.

        Returns:
            Parameter name -> float64 tensor of its shape.
        """
        if mode not in ("path", "dual"):
            raise unknown("mode", mode, ("path", "dual"), "DessiLBI: ")
        groups = {p: group for group in self.param_groups for p in group["params"]}
        shapes = {name: p.shape for name, p in self._split()}
        scores = {
            name: ranking.level(self.state[p]["z"], groups[p]["prox"], _lam(groups[p], p))
            for name, p in self._split()
        }
        if mode == "path":
            scores = ranking.lexicographic(
                {n: self.state[p]["first_step"] for n, p in self._split()},
                {name: score.expand(shapes[name]) for name, score in scores.items()},
            )
        return {name: score.expand(shapes[name]) for name, score in scores.items()}

    def mask(
        self,
        density: float,
        scope: Literal["global", "local"] = "global",
        mode: Literal["path", "dual"] = "path",
    ) -> Masks:
        """Keep exactly `density` of the split weights, ranked over all of them or within each."""
        return topk_masks(self.rank(mode), density, scope=scope)

    def _split(self) -> list[tuple[str, Tensor]]:
        """The parameters that have a Gamma, by name; those without names are numbered."""
        named = [pair for group in self.param_groups for pair in _named(group)]
        return [
            (name or str(number), parameter)
            for number, (name, parameter) in enumerate(named)
            if "z" in self.state[parameter]
        ]

    def _of(self, key: str, parameters: Iterable[Tensor]) -> list[Tensor]:
        return [self.state[p][key] for p in parameters]


def _named(group: Group) -> Iterator[tuple[str, Tensor]]:
    """Parameters with their names, "" for parameters without."""
    names = group.get("param_names") or [""] * len(group["params"])
    return zip(names, group["params"], strict=True)


def _lam(group: Group, weight: Tensor) -> float:
    """Lambda of a weight: `fc_lam` for linear layers, if there is one."""
    fc_lam = group["fc_lam"] if weight.dim() == 2 else None
    return float(group["lam"] if fc_lam is None else fc_lam)


def _threshold_of(group: Group, weight: Tensor) -> float:
    return _lam(group, weight) * ranking.size_factor(weight, group["prox"])


def _decays(rule: str, name: str, parameter: Tensor) -> bool:
    if rule == "lottery":
        return "bias" not in name
    return parameter.dim() != 1 and "bn" not in name


def _foreach(operation: str, one: list[Tensor], other: list[Tensor]) -> list[Tensor]:
    """A foreach operation on pairs, which may be none."""
    return list(getattr(torch, f"_foreach_{operation}")(one, other)) if one else []


def _added(
    tensors: list[Tensor], indices: list[int], terms: list[Tensor], alpha: float
) -> list[Tensor]:
    """Add alpha * terms to the tensors at `indices`, out of place."""
    if not indices:
        return tensors
    sums = torch._foreach_add([tensors[i] for i in indices], terms, alpha=alpha)
    by_index = dict(zip(indices, sums, strict=True))
    return [by_index.get(i, tensor) for i, tensor in enumerate(tensors)]


def _check(group: Group) -> None:
    """Raise BenchError for impossible options."""
    positive = {"lr": group["lr"], "kappa": group["kappa"], "nu": group["nu"], "lam": group["lam"]}
    if group["fc_lam"] is not None:
        positive["fc_lam"] = group["fc_lam"]
    for key, value in positive.items():
        if not 0 < value < math.inf:
            raise BenchError(f"DessiLBI: {key} must be above 0, got {value:g}")
    for key in ("momentum", "dampening"):
        if not 0 <= group[key] < 1:
            raise BenchError(f"DessiLBI: {key} must be at least 0 and below 1, got {group[key]:g}")
    if group["weight_decay"] < 0:
        raise BenchError(
            f"DessiLBI: weight_decay must be at least 0, got {group['weight_decay']:g}"
        )
    for key, choices in CHOICES.items():
        if group[key] not in choices:
            raise unknown(key, group[key], choices, "DessiLBI: ")
    _check_together(group)


def _check_together(group: Group) -> None:
    ratio = group["kappa"] * group["lr"] / group["nu"]
    if ratio >= 1:
        raise BenchError(
            f"DessiLBI: kappa lr / nu is {ratio:g}; it must be below 1, or weights in Gamma diverge"
        )
    if group["nesterov"] and not group["momentum"]:
        raise BenchError("DessiLBI: nesterov needs a momentum above 0")
    if group["weight_decay"] and "param_names" not in group:
        raise BenchError(
            "DessiLBI: weight decay depends on the names of parameters; pass "
            "network.named_parameters() instead of parameters()"
        )


def _check_split(name: str, parameter: Tensor) -> None:
    if parameter.dim() < 2:
        raise BenchError(f"DessiLBI: {name} is a vector; only weights can be split")
    if torch.finfo(parameter.dtype).bits < 32:
        raise BenchError(
            f"DessiLBI: {name} is {parameter.dtype}; split weights need at least single precision"
        )
