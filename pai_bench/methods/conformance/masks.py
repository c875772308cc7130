"""Checks of the masks that a method chooses: exact, on every network, in every dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor

from pai_bench.core.errors import BenchError
from pai_bench.methods.base import PruneAtInit
from pai_bench.methods.conformance.problems import BRANCHES, MLP, NETWORKS, RESNET
from pai_bench.methods.conformance.subject import Advice, Case, Failure, Subject
from pai_bench.sparsity import allocate
from pai_bench.sparsity.select import kept_count

DENSITIES = (0.3, 0.03)
SCOPES = {
    "local": allocate.uniform,
    "er": allocate.erdos_renyi,
    "erk": allocate.erdos_renyi_kernel,
}
COMMON = {field.name for field in fields(PruneAtInit.Hyper)}
"""Options that the base class implements: one small network is enough to check them."""
DTYPES = (torch.float64, torch.float32, torch.bfloat16)


def masks(subject: Subject) -> str:
    """One bool mask of the right shape for each prunable weight, at the default settings."""
    subject.checked_masks(Case())
    defaults = {key: subject.info.hyper[key].default for key in subject.reduced}
    subject.checked_masks(Case(hyper=defaults))
    return "one per prunable weight, also with all defaults"


def networks(subject: Subject) -> str:
    """There are masks for every kind of network; without `exact_density` some may be rejected."""
    names = []
    for problem in NETWORKS:
        reason = _rejection(subject, partial(subject.checked_masks, Case(problem)))
        names.append(f"{problem.name} (rejected: {reason})" if reason else problem.name)
    return ", ".join(names)


def _rejection(subject: Subject, choose: Callable[[], object]) -> str:
    """Choose masks; return why a method without `exact_density` rejects the network, or ""."""
    try:
        choose()
    except Failure as failure:
        if subject.cls.exact_density or not isinstance(failure.__cause__, BenchError):
            raise
        return str(failure.__cause__)
    return ""


def density(subject: Subject) -> str:
    """Exactly the target number of weights is kept, over a grid of densities and networks.

    Without `exact_density`, at most that number.
    """
    if not subject.counts_at_start:
        raise Advice("weights are chosen in training: `cell` counts them at its end")
    densities = DENSITIES if subject.cls.prunes else ()
    grid = [Case(problem, target) for problem in NETWORKS for target in densities]
    for case in (Case(density=1.0), *grid):
        _rejection(subject, partial(_count, subject, case))
    return f"{'exact' if subject.cls.exact_density else 'never above'} in {1 + len(grid)} cases"


def _count(subject: Subject, case: Case) -> None:
    chosen = subject.masks(case)
    target = kept_count(chosen.total, case.density)
    fits = chosen.kept == target if _is_exact(subject, case) else chosen.kept <= target
    if not fits:
        raise Failure(
            f"{subject.cls.__name__} {case}: {chosen.kept} of {chosen.total} weights are kept, the "
            f"target is {target}; choose masks with topk_masks"
        )


def _is_exact(subject: Subject, case: Case) -> bool:
    return subject.cls.exact_density or case.density == 1


def layers(subject: Subject) -> str:
    """Exactly the target number of weights is kept in each layer, for scopes by layer."""
    if not issubclass(subject.cls, PruneAtInit):
        raise Advice("not a PruneAtInit: it has no hyper-parameter `scope`")
    for scope in SCOPES:
        case = Case(BRANCHES, 0.2, hyper={"scope": scope})
        chosen = subject.masks(case)
        for name, target in _by_layer(chosen, scope, case.density).items():
            kept = int(chosen[name].sum())
            if kept != target:
                raise Failure(
                    f"{subject.cls.__name__} {case}: {kept} weights of {name} are kept, the target "
                    f"is {target}; apply self.hyper.scope, as PruneAtInit.keep does"
                )
    return ", ".join(SCOPES)


def _by_layer(masks: Mapping[str, Tensor], scope: str, density: float) -> dict[str, int]:
    shapes = {name: tuple(mask.shape) for name, mask in masks.items()}
    shares = SCOPES[scope](shapes, density)
    return {name: kept_count(masks[name].numel(), share) for name, share in shares.items()}


def options(subject: Subject) -> str:
    """There are masks for every choice of every `Literal` hyper-parameter."""
    count = 0
    for key, choice in _choices(subject):
        problem = MLP if key in COMMON else RESNET
        subject.checked_masks(Case(problem, hyper={key: choice}))
        count += 1
    return f"{count} choices besides the defaults"


def _choices(subject: Subject) -> Iterator[tuple[str, object]]:
    for key, declared in subject.info.hyper.items():
        if declared.kind.startswith("Literal["):
            yield from ((key, c) for c in declared.choices() if c != declared.default)


def types(subject: Subject) -> str:
    """There are masks for networks in double, single and half precision."""
    for dtype in DTYPES:
        subject.checked_masks(Case(RESNET, dtype=dtype))
    return "float64, float32, bfloat16"


def gpu(subject: Subject) -> str:
    """There are masks for networks on a GPU, if this machine has one."""
    if not torch.cuda.is_available():
        raise Advice("skipped: no GPU")
    subject.checked_masks(Case(RESNET, device="cuda"))
    return torch.cuda.get_device_name()


def one_image(subject: Subject) -> str:
    """A single image is enough for scoring."""
    try:
        subject.masks(Case(replace(RESNET, sizes=(1,))))
    except Failure as error:
        raise Advice(f"is not enough: {error}") from error
    return "is enough"
