"""Read what methods declare about themselves from their source text, without importing them."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pai_bench.core.errors import BenchError, did_you_mean

FACTS = (
    "version", "paper", "when", "prunes", "needs_data", "needs_labels", "trains_to_score",
    "changes_weights",
)  # fmt: skip
PACKAGE = Path(__file__).parents[1]
"""Folder of the package."""
ROOT = PACKAGE.parent
"""Folder that holds it: of the checkout, where there is one."""


@dataclass(frozen=True)
class HyperParameter:
    """One field of a method's `Hyper`: its annotation as written, and its default."""

    kind: str
    default: Any

    def accepts(self, value: object) -> bool:
        """Tell whether `value` fits the annotation (`int` fits `float`; `bool` fits only itself).

        >>> HyperParameter("float", 0.01).accepts(1), HyperParameter("int", 1).accepts(True)
        (True, False)
        >>> HyperParameter("Literal['global', 'local']", "global").accepts("lokal")
        False
        """
        if self.kind.startswith("Literal["):
            return value in self.choices()
        kinds: dict[str, tuple[type, ...]]
        kinds = {"float": (int, float), "int": (int,), "str": (str,), "bool": ()}
        if isinstance(value, bool):
            return self.kind == "bool"
        return isinstance(value, kinds.get(self.kind, (object,)))

    def choices(self) -> tuple[object, ...]:
        """List the values of a `Literal[...]` annotation."""
        values = ast.literal_eval(f"({self.kind[8:-1]},)")
        return tuple(values)


@dataclass(frozen=True)
class MethodInfo:
    """What a method declares about itself, read from its source."""

    name: str
    module: str
    """Importable name, or the path of a plugin file."""
    path: str
    line: int
    about: str = ""
    version: int = 1
    paper: str | None = None
    when: str = "init"
    prunes: bool = True
    needs_data: bool = True
    needs_labels: bool = True
    trains_to_score: bool = False
    changes_weights: bool = False
    hyper: Mapping[str, HyperParameter] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """File and line, relative to the project where it lies inside."""
        path = Path(self.path)
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        return f"{shown}:{self.line}"

    def check(self, given: Mapping[str, Any]) -> None:
        """Raise BenchError unless every hyper-parameter in `given` exists and has its type."""
        for key, value in given.items():
            if key not in self.hyper:
                raise BenchError(
                    f'{self.name} has no hyper-parameter "{key}"; {did_you_mean(key, self.hyper)}'
                )
            if not self.hyper[key].accepts(value):
                raise BenchError(
                    f"{self.name}: {key} must be {self.hyper[key].kind}, got {value!r}"
                )

    def without_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Drop the hyper-parameters that are set to their default: they change nothing.

        What is left is in one spelling: 1 for a `float` becomes 1.0.
        """
        spelled = {k: float(v) if self.hyper[k].kind == "float" else v for k, v in given.items()}
        return {k: v for k, v in spelled.items() if v != self.hyper[k].default}


@dataclass(frozen=True)
class _Declaration:
    """One class statement: its bases by name, its literal attributes, its hyper-parameters."""

    node: ast.ClassDef
    bases: tuple[str, ...]
    facts: Mapping[str, Any]
    hyper: Mapping[str, HyperParameter]
    registered: str | None


def describe(module: str, path: Path, places: Sequence[Path]) -> list[MethodInfo]:
    """Read the methods that the file at `path` registers.

    Bases are looked up by name, in the file itself and then in `places`.
    Raises BenchError when the file is not Python.
    """
    return [
        MethodInfo(
            name=declared.registered,
            module=module,
            path=str(path.resolve()),
            line=declared.node.lineno,
            about=(ast.get_docstring(declared.node) or "").partition("\n")[0],
            hyper=_inherited(name, [path, *places], "hyper"),
            **_inherited(name, [path, *places], "facts"),
        )
        for name, declared in _declarations(path).items()
        if declared.registered is not None
    ]


def _inherited(name: str, places: Sequence[Path], what: str) -> dict[str, Any]:
    """Merge what a class and its bases declare, nearest first."""
    for place in places:
        declared = _declarations(place).get(name)
        if declared is not None:
            merged: dict[str, Any] = {}
            for base in reversed(declared.bases):
                merged.update(_inherited(base, [place, *places], what))
            return {**merged, **getattr(declared, what)}
    return {}


@cache
def _declarations(path: Path) -> dict[str, _Declaration]:
    """Parse the class statements at the top of a file."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (OSError, SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise BenchError(f"{path}:{line}: cannot be read as Python: {error}") from None
    return {node.name: _declaration(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _declaration(node: ast.ClassDef) -> _Declaration:
    hyper = [n for n in node.body if isinstance(n, ast.ClassDef) and n.name == "Hyper"]
    return _Declaration(
        node=node,
        bases=tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases),
        facts={k: v for k, (_, v) in _literals(node).items() if k in FACTS},
        hyper={k: HyperParameter(*v) for n in hyper for k, v in _literals(n).items()},
        registered=next(filter(None, map(_registered_name, node.decorator_list)), None),
    )


def _literals(node: ast.ClassDef) -> dict[str, tuple[str, Any]]:
    """Collect `name: kind = literal` and `name = literal` of a class body."""
    found: dict[str, tuple[str, Any]] = {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):
            targets: list[ast.expr] = [statement.target]
            kind = ast.unparse(statement.annotation)
        elif isinstance(statement, ast.Assign):
            targets, kind = statement.targets, ""
        else:
            continue
        if statement.value is not None:
            with contextlib.suppress(ValueError):
                value = ast.literal_eval(statement.value)
                found |= {ast.unparse(target): (kind, value) for target in targets}
    return found


def _registered_name(decorator: ast.expr) -> str | None:
    """Return the name in `@register("name")`."""
    if not isinstance(decorator, ast.Call) or len(decorator.args) != 1:
        return None
    function = ast.unparse(decorator.func).rpartition(".")[2]
    name = decorator.args[0]
    if function == "register" and isinstance(name, ast.Constant) and isinstance(name.value, str):
        return name.value
    return None
