"""What a method says about itself: well formed, and true."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from pai_bench.core.errors import BenchError
from pai_bench.methods.base import PruneAtInit
from pai_bench.methods.conformance.problems import CLASSES
from pai_bench.methods.conformance.subject import (
    Case,
    Noteworthy,
    Subject,
    Wrong,
    difference,
    seed_everything,
)
from pai_bench.sparsity.masks import Masks

WHEN = ("init", "during", "path")
BOOLS = (
    "prunes", "needs_data", "needs_labels", "trains_to_score", "changes_weights", "exact_density",
)  # fmt: skip
Batch = tuple[Tensor, Any]


def declaration(subject: Subject) -> str:
    """Facts have their type; that the source says what the class says is seen on import."""
    cls, info = subject.cls, subject.info
    where = _line(subject)
    if isinstance(cls.version, bool) or not isinstance(cls.version, int) or cls.version < 1:
        raise Wrong(f"{where}: version is {cls.version!r}; it must be a whole number from 1")
    if cls.when not in WHEN:
        raise Wrong(f"{where}: when is {cls.when!r}; it must be one of {', '.join(WHEN)}")
    for fact in BOOLS:
        if not isinstance(getattr(cls, fact), bool):
            raise Wrong(f"{where}: {fact} is {getattr(cls, fact)!r}; it must be True or False")
    if not info.about:
        raise Wrong(f"{where}: no docstring; say in one line what the method keeps")
    return info.about


def hyper_parameters(subject: Subject) -> str:
    """A frozen dataclass with literal defaults; what cannot be is refused by name."""
    where = f"{subject.cls.__name__}.Hyper"
    _frozen_dataclass(subject, where)
    _defaults(subject, where)
    if issubclass(subject.cls, PruneAtInit):
        for rounds in (0, -1):
            build = partial(subject.module, Case(hyper={"rounds": rounds}))
            mend = "call super().__post_init__() in __post_init__"
            _refuses(build, "rounds", f"{where} takes {rounds} rounds", mend)
    check = subject.info.check
    _refuses(partial(check, {"no_such": 1}), "no_such", f"{where} takes any key", "name its fields")
    for key, declared in subject.info.hyper.items():
        if declared.accepts(object()):
            raise Noteworthy(
                f"{where}: {key} is annotated {declared.kind!r}: values of a wrong type are only "
                "refused for int, float, bool, str and Literal[...]"
            )
    return ", ".join(subject.info.hyper) or "none"


def _frozen_dataclass(subject: Subject, where: str) -> None:
    parameters = getattr(subject.cls.Hyper, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise Wrong(f"{where} is no frozen dataclass; decorate it with @dataclass(frozen=True)")


def _defaults(subject: Subject, where: str) -> None:
    """Defaults are of their own type."""
    for key, declared in subject.info.hyper.items():
        if not declared.accepts(declared.default):
            said = f"{key} is {declared.default!r}, annotated {declared.kind}"
            raise Wrong(f"{where}: {said}; mend either")


def _refuses(call: Callable[[], object], word: str, what: str, mend: str) -> None:
    """Raise Wrong unless `call` raises a BenchError that says `word`."""
    try:
        call()
    except BenchError as error:
        if word in str(error):
            return
        raise Wrong(f"{what}: refused without naming {word}; {mend}") from error
    except Exception as error:
        raise Wrong(
            f"{what}: refused by a {type(error).__name__}, no BenchError; {mend}"
        ) from error
    raise Wrong(f"{what} without a word; {mend}")


def labels(subject: Subject) -> str:
    """A method that needs no labels runs without, and does the same with any."""
    case = Case()
    given = case.batches()
    others = [(images, (answer + 1) % CLASSES) for images, answer in given]
    if subject.cls.needs_labels:
        return _is_needed(subject, given, others, "labels")
    right, without = _attempt(subject, given), _attempt(subject, _without_labels(given))
    if isinstance(right, Exception):
        return "left to `masks`: it does not run"
    if isinstance(without, Exception):
        raise Wrong(
            f"{_line(subject)}: needs_labels = False, but without labels it raises "
            f"{type(without).__name__}; declare needs_labels = True"
        )
    for other in (without, _attempt(subject, others)):
        if isinstance(other, Exception) or difference(right, other):
            raise Wrong(
                f"{_line(subject)}: needs_labels = False, but other labels give other masks; "
                "declare needs_labels = True"
            )
    return "not needed, and not used"


def data(subject: Subject) -> str:
    """A method that needs no data does the same with any."""
    given = Case().batches()
    others = [(images.flip(0) * 3 + 1, answer) for images, answer in given]
    if subject.cls.needs_data:
        return _is_needed(subject, given, others, "data")
    if not subject.cls.needs_labels:
        given, others = _without_labels(given), _without_labels(others)
    one, other = _attempt(subject, given), _attempt(subject, others)
    if isinstance(one, Exception):
        return "left to `masks`: it does not run"
    if isinstance(other, Exception) or difference(one, other):
        raise Wrong(
            f"{_line(subject)}: needs_data = False, but other images give other masks; declare "
            "needs_data = True"
        )
    return "not needed, and not used"


def _is_needed(subject: Subject, given: list[Batch], others: list[Batch], what: str) -> str:
    """Advise a method that declares a need which it does not have."""
    one, other = _attempt(subject, given), _attempt(subject, others)
    if isinstance(one, Exception) or isinstance(other, Exception):
        return "left to `masks`: it does not run"
    if subject.cls.prunes and not difference(one, other):
        raise Noteworthy(
            f"{_line(subject)}: other {what} give the same masks; if that is so everywhere, "
            f"declare needs_{what} = False"
        )
    return "needed, and used"


def _without_labels(batches: list[Batch]) -> list[Batch]:
    return [(images, None) for images, _ in batches]


def _attempt(subject: Subject, batches: list[Batch]) -> Masks | Exception:
    """Choose masks from batches from which nothing is withheld."""
    seed_everything(0)
    try:
        return subject.module(Case()).sparsify([_copied(*batch) for batch in batches])
    except Exception as error:
        return error


def _copied(images: Tensor, labels: Any) -> Batch:
    """A batch that the method may spoil: that is for `batches` to find."""
    return images.clone(), None if labels is None else labels.clone()


def _line(subject: Subject) -> str:
    return f"{subject.cls.__name__} ({subject.info.origin})"
