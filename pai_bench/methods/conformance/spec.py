"""Checks of what a method declares: well formed, and true."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from pai_bench.core.errors import BenchError
from pai_bench.methods.base import PruneAtInit
from pai_bench.methods.conformance.problems import CLASSES
from pai_bench.methods.conformance.subject import (
    Advice,
    Case,
    Failure,
    Subject,
    difference,
    seed_everything,
)
from pai_bench.sparsity.masks import Masks

WHEN = ("init", "during", "path")
BOOLS = (
    "prunes", "needs_data", "needs_labels", "trains_to_score", "changes_weights", "exact_density",
    "ranks_scores",
)  # fmt: skip
Batch = tuple[Tensor, Any]


def declaration(subject: Subject) -> str:
    """Facts have their type; that they agree with the source is checked on import."""
    cls, info = subject.cls, subject.info
    where = _line(subject)
    if isinstance(cls.version, bool) or not isinstance(cls.version, int) or cls.version < 1:
        raise Failure(f"{where}: version is {cls.version!r}; it must be an integer from 1")
    if cls.when not in WHEN:
        raise Failure(f"{where}: when is {cls.when!r}; it must be one of {', '.join(WHEN)}")
    for fact in BOOLS:
        if not isinstance(getattr(cls, fact), bool):
            raise Failure(f"{where}: {fact} is {getattr(cls, fact)!r}; it must be True or False")
    if not info.about:
        raise Failure(f"{where}: no docstring; describe in one line what the method keeps")
    return info.about


def hyper_parameters(subject: Subject) -> str:
    """Hyper is a frozen dataclass with literal defaults, and rejects impossible values by name."""
    where = f"{subject.cls.__name__}.Hyper"
    _frozen_dataclass(subject, where)
    if issubclass(subject.cls, PruneAtInit):
        for rounds in (0, -1):
            build = partial(subject.module, Case(hyper={"rounds": rounds}))
            fix = "call super().__post_init__() in __post_init__"
            _check_rejects(build, "rounds", f"{where} accepts {rounds} rounds", fix)
    unknown_key = partial(subject.info.check, {"no_such": 1})
    _check_rejects(unknown_key, "no_such", f"{where} accepts any key", "name its fields")
    for key, declared in subject.info.hyper.items():
        if declared.accepts(object()):
            raise Advice(
                f"{where}: {key} is annotated {declared.kind!r}: values of a wrong type are only "
                "rejected for int, float, bool, str and Literal[...]"
            )
    return ", ".join(subject.info.hyper) or "none"


def _frozen_dataclass(subject: Subject, where: str) -> None:
    parameters = getattr(subject.cls.Hyper, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise Failure(
            f"{where} is not a frozen dataclass; decorate it with @dataclass(frozen=True)"
        )


def _check_rejects(call: Callable[[], object], word: str, problem: str, fix: str) -> None:
    """Raise Failure unless `call` raises a BenchError that contains `word`."""
    try:
        call()
    except BenchError as error:
        if word in str(error):
            return
        raise Failure(f"{problem}: rejected without naming {word}; {fix}") from error
    except Exception as error:
        raise Failure(
            f"{problem}: raises {type(error).__name__} instead of BenchError; {fix}"
        ) from error
    raise Failure(f"{problem} without an error; {fix}")


def labels(subject: Subject) -> str:
    """A method that needs no labels runs without, and its masks do not depend on them."""
    case = Case()
    batches = case.batches()
    relabelled = [(images, (answers + 1) % CLASSES) for images, answers in batches]
    if subject.cls.needs_labels:
        return _is_needed(subject, batches, relabelled, "labels")
    expected = _attempt(subject, batches)
    without = _attempt(subject, _without_labels(batches))
    if isinstance(expected, Exception):
        return "not run: see `masks`"
    if isinstance(without, Exception):
        raise Failure(
            f"{_line(subject)}: needs_labels = False, but without labels it raises "
            f"{type(without).__name__}; declare needs_labels = True"
        )
    for other in (without, _attempt(subject, relabelled)):
        if isinstance(other, Exception) or difference(expected, other):
            raise Failure(
                f"{_line(subject)}: needs_labels = False, but other labels give other masks; "
                "declare needs_labels = True"
            )
    return "not needed, and not used"


def data(subject: Subject) -> str:
    """The masks of a method that needs no data do not depend on them."""
    batches = Case().batches()
    changed = [(images.flip(0) * 3 + 1, answers) for images, answers in batches]
    if subject.cls.needs_data:
        return _is_needed(subject, batches, changed, "data")
    if not subject.cls.needs_labels:
        batches, changed = _without_labels(batches), _without_labels(changed)
    one, other = _attempt(subject, batches), _attempt(subject, changed)
    if isinstance(one, Exception):
        return "not run: see `masks`"
    if isinstance(other, Exception) or difference(one, other):
        raise Failure(
            f"{_line(subject)}: needs_data = False, but other images give other masks; declare "
            "needs_data = True"
        )
    return "not needed, and not used"


def _is_needed(subject: Subject, batches: list[Batch], changed: list[Batch], need: str) -> str:
    """Raise Advice if a method declares a need that its masks do not depend on."""
    one, other = _attempt(subject, batches), _attempt(subject, changed)
    if isinstance(one, Exception) or isinstance(other, Exception):
        return "not run: see `masks`"
    if subject.cls.prunes and not difference(one, other):
        raise Advice(
            f"{_line(subject)}: other {need} give the same masks; if that is so everywhere, "
            f"declare needs_{need} = False"
        )
    return "needed, and used"


def _without_labels(batches: list[Batch]) -> list[Batch]:
    return [(images, None) for images, _ in batches]


def _attempt(subject: Subject, batches: list[Batch]) -> Masks | Exception:
    """Choose masks from unrestricted batches; return the exception if there is one."""
    seed_everything(0)
    try:
        return subject.module(Case()).sparsify([_copied(*batch) for batch in batches])
    except Exception as error:
        return error


def _copied(images: Tensor, labels: Any) -> Batch:
    """Copy a batch: whether the method changes it is checked by `batches`."""
    return images.clone(), None if labels is None else labels.clone()


def _line(subject: Subject) -> str:
    return f"{subject.cls.__name__} ({subject.info.origin})"
