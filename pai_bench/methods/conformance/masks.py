"""The masks that a method chooses: exact, on every network, in every type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor

from pai_bench.core.errors import BenchError
from pai_bench.methods.base import PruneAtInit
from pai_bench.methods.conformance.problems import BRANCHES, MLP, NETWORKS, RESNET
from pai_bench.methods.conformance.subject import Case, Noteworthy, Subject, Wrong
from pai_bench.sparsity import allocate
from pai_bench.sparsity.select import kept_count

DENSITIES = (0.3, 0.03)
SCOPES = {
    "local": allocate.uniform,
    "er": allocate.erdos_renyi,
    "erk": allocate.erdos_renyi_kernel,
}
OURS = {field.name for field in fields(PruneAtInit.Hyper)}
"""Options of the harness: whether they work at all for this method is seen on any network."""
TYPES = (torch.float64, torch.float32, torch.bfloat16)


def masks(subject: Subject) -> str:
    """One bool mask of the right shape for each prunable weight, at the default settings."""
    subject.checked_masks(Case())
    defaults = {key: subject.info.hyper[key].default for key in subject.few}
    subject.checked_masks(Case(hyper=defaults))
    return "one per prunable weight, also with all defaults"


def networks(subject: Subject) -> str:
    """Masks for every kind of network; where masks come in steps, for those that have one."""
    said = []
    for problem in NETWORKS:
        refused = _refused(subject, partial(subject.checked_masks, Case(problem)))
        said.append(f"{problem.name} (refused: {refused})" if refused else problem.name)
    return ", ".join(said)


def _refused(subject: Subject, choose: Callable[[], object]) -> str:
    """Choose masks; return what a method whose masks come in steps says that it cannot do."""
    try:
        choose()
    except Wrong as wrong:
        if subject.cls.exact_density or not isinstance(wrong.__cause__, BenchError):
            raise
        return str(wrong.__cause__)
    return ""


def density(subject: Subject) -> str:
    """Exactly the asked number of weights, over a grid of densities and networks.

    At most that number where masks come in steps.
    """
    if not subject.counts_at_start:
        raise Noteworthy("weights are chosen while training: counted at the end of `cell`")
    densities = DENSITIES if subject.cls.prunes else ()
    grid = [Case(problem, asked) for problem in NETWORKS for asked in densities]
    for case in (Case(density=1.0), *grid):
        _refused(subject, partial(_count, subject, case))
    return f"{'exact' if subject.cls.exact_density else 'never above'} in {1 + len(grid)} cases"


def _count(subject: Subject, case: Case) -> None:
    found = subject.masks(case)
    expected = kept_count(found.total, case.density)
    fits = found.kept == expected if _is_exact(subject, case) else found.kept <= expected
    if not fits:
        raise Wrong(
            f"{subject.cls.__name__} {case}: {found.kept} of {found.total} weights are kept, "
            f"{expected} were asked for; leave the choice to keep_top"
        )


def _is_exact(subject: Subject, case: Case) -> bool:
    return subject.cls.exact_density or case.density == 1


def layers(subject: Subject) -> str:
    """Exactly the asked number of weights in each layer, where densities are given by layer."""
    if not issubclass(subject.cls, PruneAtInit):
        raise Noteworthy("no PruneAtInit: it has no hyper-parameter `scope`")
    for scope in SCOPES:
        case = Case(BRANCHES, 0.2, hyper={"scope": scope})
        found = subject.masks(case)
        for name, expected in _by_layer(found, scope, case.density).items():
            kept = int(found[name].sum())
            if kept != expected:
                raise Wrong(
                    f"{subject.cls.__name__} {case}: {kept} weights of {name} are kept, {expected} "
                    "were asked for; heed self.hyper.scope, as PruneAtInit.keep does"
                )
    return ", ".join(SCOPES)


def _by_layer(masks: Mapping[str, Tensor], scope: str, density: float) -> dict[str, int]:
    shapes = {name: tuple(mask.shape) for name, mask in masks.items()}
    shares = SCOPES[scope](shapes, density)
    return {name: kept_count(masks[name].numel(), share) for name, share in shares.items()}


def options(subject: Subject) -> str:
    """Every choice of every `Literal` hyper-parameter gives masks."""
    tried = 0
    for key, choice in _choices(subject):
        problem = MLP if key in OURS else RESNET
        subject.checked_masks(Case(problem, hyper={key: choice}))
        tried += 1
    return f"{tried} choices beside the defaults"


def _choices(subject: Subject) -> Iterator[tuple[str, object]]:
    for key, declared in subject.info.hyper.items():
        if declared.kind.startswith("Literal["):
            yield from ((key, c) for c in declared.choices() if c != declared.default)


def types(subject: Subject) -> str:
    """Networks of double, single and half precision."""
    for dtype in TYPES:
        subject.checked_masks(Case(RESNET, dtype=dtype))
    return "float64, float32, bfloat16"


def gpu(subject: Subject) -> str:
    """Networks on a GPU, where there is one."""
    if not torch.cuda.is_available():
        raise Noteworthy("no GPU here: not looked at")
    subject.checked_masks(Case(RESNET, device="cuda"))
    return torch.cuda.get_device_name()


def one_image(subject: Subject) -> str:
    """A scoring batch of a single image."""
    try:
        subject.masks(Case(replace(RESNET, sizes=(1,))))
    except Wrong as error:
        raise Noteworthy(f"is not enough: {error}") from error
    return "is enough"
