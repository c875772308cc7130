"""What a method leaves behind, and what it lets itself be influenced by."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

from pai_bench.methods.base import PruneAtInit
from pai_bench.methods.conformance.problems import RESNET
from pai_bench.methods.conformance.subject import (
    Case,
    Noteworthy,
    Subject,
    Wrong,
    difference,
    seed_everything,
)
from pai_bench.sparsity.masks import Masks

STREAMS = "draw from self.context.rng.generator(...)"


def global_state() -> dict[str, Any]:
    """The state of each global generator, in a form that can be compared."""
    legacy = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().tolist(),
        "random": random.getstate(),
        "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in legacy],
    }


def repeatable(subject: Subject) -> str:
    """The same seed gives the same masks, bit by bit."""
    # The first run is not compared: what it left behind is for `order` to find.
    _, one, two = (_pinned(subject) for _ in range(3))
    changed = difference(one, two)
    if changed:
        raise Wrong(
            f"{subject.cls.__name__} {Case()}: two runs at one seed differ in {changed}; {STREAMS} "
            "and keep nothing between runs"
        )
    return "bit by bit"


def order(subject: Subject) -> str:
    """What ran before in the process changes nothing."""
    _pinned(subject)
    one = _pinned(subject)
    for before in (Case(RESNET, 0.5, seed=3), Case(density=0.1, seed=4, start=5)):
        subject.masks(before)
        changed = difference(one, _pinned(subject))
        if changed:
            raise Wrong(
                f"{subject.cls.__name__} {Case()}: after a run {before} the masks of {changed} "
                "are others; keep nothing in the class or the module between runs"
            )
    return "does not matter"


def random_state(subject: Subject) -> str:
    """The global random state is neither used nor changed."""
    found = []
    for seed in (0, 1):
        seed_everything(seed)
        before = global_state()
        found.append(subject.masks(Case()))
        for library, state in global_state().items():
            if state != before[library]:
                raise Wrong(
                    f"{subject.cls.__name__} {Case()}: the global random state of {library} is "
                    f"another afterwards; {STREAMS}"
                )
    changed = difference(*found)
    if changed:
        raise Wrong(
            f"{subject.cls.__name__} {Case()}: the global random state changes the mask of "
            f"{changed}; {STREAMS}"
        )
    return "neither used nor changed"


def _pinned(subject: Subject, case: Case | None = None) -> Masks:
    """Choose masks from one fixed state of the global generators."""
    seed_everything(0)
    return subject.masks(case or Case())


def seeds(subject: Subject) -> str:
    """Whether a method draws, and whether it looks at anything at all."""
    if not subject.cls.prunes or not subject.counts_at_start:
        raise Noteworthy("nothing is chosen before training")
    cases = Case(), Case(seed=2), Case(seed=2, start=7)
    one, drawn, other = (_pinned(subject, case) for case in cases)
    if difference(one, drawn):
        return "masks differ from seed to seed: the method draws"
    if difference(one, other):
        return "the same masks at every seed for the same weights and data"
    raise Noteworthy(
        "the same masks whatever the seed, the weights and the data: is something kept from an "
        "earlier run?"
    )


def network(subject: Subject) -> str:
    """Weights, buffers, modes, gradients and hooks of the network are left as they were."""
    for case in (Case(), Case(RESNET)):
        module = subject.module(case)
        module.network.train()
        next(module.network.children()).eval()
        before = _snapshot(module.network)
        subject.chosen_by(module, case)
        after = _snapshot(module.network)
        if subject.cls.changes_weights:
            before, after = _without_values(before), _without_values(after)
        for what in before | after:
            if not _equal(before.get(what), after.get(what)):
                scratch = "work on the copy that scores() is given, or on copy.deepcopy"
                hint = scratch if issubclass(subject.cls, PruneAtInit) else "work on copy.deepcopy"
                raise Wrong(
                    f"{subject.cls.__name__} {case}: {what} of the network that will be trained "
                    f"is another after sparsify(); {hint}(self.network)"
                )
    if subject.cls.changes_weights:
        return "modes, gradients and hooks are as before; weights may be others, as declared"
    return "weights, buffers, modes, gradients and hooks are as before"


def _snapshot(network: nn.Module) -> dict[str, Any]:
    """All that a method could change: tensors are copied, other attributes shown as plain data."""
    found: dict[str, Any] = {}
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        found[f"value of {name}"] = tensor.detach().clone()
        found[f"requires_grad of {name}"] = tensor.requires_grad
        found[f"grad of {name}"] = tensor.grad is not None
    for name, module in network.named_modules():
        for key, value in vars(module).items():
            found[f"{key} of {name or 'the root'}"] = _plain(key, value)
    return found


def _without_values(snapshot: dict[str, Any]) -> dict[str, Any]:
    return {what: value for what, value in snapshot.items() if not what.startswith("value of ")}


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, bool | int | float | str | tuple):
        return repr(value)
    return len(value) if key.endswith("_hooks") else type(value).__name__


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def batches(subject: Subject) -> str:
    """Images and labels are only read."""
    case = Case()
    given, original = case.batches(), case.batches()
    subject.masks(case, given)
    if len(given) != len(original):
        raise Wrong(f"{subject.cls.__name__} {case}: the list of batches is another afterwards")
    for (images, labels), (same_images, same_labels) in zip(given, original, strict=True):
        for what, one, other in (("images", images, same_images), ("labels", labels, same_labels)):
            if not torch.equal(one, other):
                raise Wrong(
                    f"{subject.cls.__name__} {case}: the {what} of a batch are others afterwards; "
                    "change a clone(), not the batch"
                )
    return "only read"


def silence(subject: Subject) -> str:
    """Nothing is printed: standard output belongs to the tables, and to many workers."""
    if subject.printed:
        raise Wrong(
            f"{subject.cls.__name__} prints to standard output ({subject.printed[0]!r}); use the "
            "logging module, or nothing"
        )
    return "nothing is printed"
