"""Checks that a method repeats, draws from its own streams, and has no side effects."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

from pai_bench.methods.base import PruneAtInit
from pai_bench.methods.conformance.problems import RESNET
from pai_bench.methods.conformance.subject import (
    Advice,
    Case,
    Failure,
    Subject,
    difference,
    seed_everything,
)
from pai_bench.sparsity.masks import Masks

STREAMS = "draw from self.context.rng.generator(...)"


def global_state() -> dict[str, Any]:
    """State of each global random generator, in a form that can be compared."""
    legacy = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().tolist(),
        "random": random.getstate(),
        "numpy": [v.tolist() if isinstance(v, np.ndarray) else v for v in legacy],
    }


def repeatable(subject: Subject) -> str:
    """The same seed gives the same masks, bit by bit."""
    # The first run is not compared: `order` looks for what runs leave behind.
    _, one, two = (_pinned(subject) for _ in range(3))
    changed = difference(one, two)
    if changed:
        raise Failure(
            f"{subject.cls.__name__} {Case()}: two runs at one seed differ in {changed}; {STREAMS} "
            "and keep no state between runs"
        )
    return "bit by bit"


def order(subject: Subject) -> str:
    """Earlier runs in the process change nothing."""
    _pinned(subject)
    one = _pinned(subject)
    for before in (Case(RESNET, 0.5, seed=3), Case(density=0.1, seed=4, start=5)):
        subject.masks(before)
        changed = difference(one, _pinned(subject))
        if changed:
            raise Failure(
                f"{subject.cls.__name__} {Case()}: after a run {before} the masks of {changed} "
                "differ; keep no state in the class or the module between runs"
            )
    return "does not matter"


def random_state(subject: Subject) -> str:
    """The global random state is neither used nor changed."""
    masks = []
    for seed in (0, 1):
        seed_everything(seed)
        before = global_state()
        masks.append(subject.masks(Case()))
        for library, state in global_state().items():
            if state != before[library]:
                raise Failure(
                    f"{subject.cls.__name__} {Case()}: the global random state of {library} is "
                    f"changed; {STREAMS}"
                )
    changed = difference(*masks)
    if changed:
        raise Failure(
            f"{subject.cls.__name__} {Case()}: the global random state changes the mask of "
            f"{changed}; {STREAMS}"
        )
    return "neither used nor changed"


def _pinned(subject: Subject, case: Case | None = None) -> Masks:
    """Choose masks with the global random generators in one fixed state."""
    seed_everything(0)
    return subject.masks(case or Case())


def seeds(subject: Subject) -> str:
    """Tell whether masks depend on the seed, and whether they depend on anything."""
    if not subject.cls.prunes or not subject.counts_at_start:
        raise Advice("nothing is chosen before training")
    cases = Case(), Case(seed=2), Case(seed=2, start=7)
    one, drawn, other = (_pinned(subject, case) for case in cases)
    if difference(one, drawn):
        return "masks differ from seed to seed: the method is random"
    if difference(one, other):
        return "the same masks at every seed for the same weights and data"
    raise Advice(
        "the same masks whatever the seed, the weights and the data: is state kept from an earlier "
        "run?"
    )


def network(subject: Subject) -> str:
    """Choosing masks does not change weights, buffers, modes, gradients and hooks."""
    for case in (Case(), Case(RESNET)):
        module = subject.module(case)
        module.network.train()
        next(module.network.children()).eval()
        before = _snapshot(module.network)
        subject.select(module, case)
        after = _snapshot(module.network)
        if subject.cls.changes_weights:
            before, after = _without_values(before), _without_values(after)
        for key in before | after:
            if not _equal(before.get(key), after.get(key)):
                scratch = "work on the copy that scores() gets, or on copy.deepcopy"
                hint = scratch if issubclass(subject.cls, PruneAtInit) else "work on copy.deepcopy"
                raise Failure(
                    f"{subject.cls.__name__} {case}: {key} of the network that will be trained "
                    f"is changed by sparsify(); {hint}(self.network)"
                )
    if subject.cls.changes_weights:
        return "modes, gradients and hooks do not change; weights may, as declared"
    return "weights, buffers, modes, gradients and hooks do not change"


def _snapshot(network: nn.Module) -> dict[str, Any]:
    """All that a method could change: copies of tensors, and other attributes as plain data."""
    snapshot: dict[str, Any] = {}
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        snapshot[f"value of {name}"] = tensor.detach().clone()
        snapshot[f"requires_grad of {name}"] = tensor.requires_grad
        snapshot[f"grad of {name}"] = tensor.grad is not None
    for name, module in network.named_modules():
        for key, value in vars(module).items():
            snapshot[f"{key} of {name or 'the root'}"] = _plain(key, value)
    return snapshot


def _without_values(snapshot: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in snapshot.items() if not key.startswith("value of ")}


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, bool | int | float | str | tuple):
        return repr(value)
    return len(value) if key.endswith("_hooks") else type(value).__name__


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def batches(subject: Subject) -> str:
    """Choosing masks does not change images and labels."""
    case = Case()
    used, expected = case.batches(), case.batches()
    subject.masks(case, used)
    if len(used) != len(expected):
        raise Failure(f"{subject.cls.__name__} {case}: the list of batches is changed")
    for used_batch, expected_batch in zip(used, expected, strict=True):
        for name, one, other in zip(("images", "labels"), used_batch, expected_batch, strict=True):
            if not torch.equal(one, other):
                raise Failure(
                    f"{subject.cls.__name__} {case}: the {name} of a batch are changed; change a "
                    "clone(), not the batch"
                )
    return "do not change"


def silence(subject: Subject) -> str:
    """Nothing is printed: standard output is for tables, and shared by workers."""
    if subject.printed:
        raise Failure(
            f"{subject.cls.__name__} prints to standard output ({subject.printed[0]!r}); use the "
            "logging module, or nothing"
        )
    return "nothing is printed"
