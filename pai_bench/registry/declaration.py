"""Read what methods declare about themselves from their source text, without importing them."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pai_bench.core.errors import BenchError, check_name, did_you_mean
from pai_bench.core.project import at
from pai_bench.registry import source
from pai_bench.registry.inheritance import Bases, ClassSource
from pai_bench.registry.source import Binding, Imported, SourceFile

FACTS = (
    "version", "paper", "when", "prunes", "needs_data", "needs_labels", "trains_to_score",
    "changes_weights",
)  # fmt: skip


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
        if isinstance(value, float | int) and not abs(value) <= sys.float_info.max:
            return False
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
        return at(Path(self.path), self.line)

    def check(self, hyper: Mapping[str, Any]) -> None:
        """Raise BenchError unless every hyper-parameter in `hyper` exists and has its type."""
        for key, value in hyper.items():
            if key not in self.hyper:
                raise BenchError(
                    f'{self.name} has no hyper-parameter "{key}"; {did_you_mean(key, self.hyper)}'
                )
            if not self.hyper[key].accepts(value):
                raise BenchError(
                    f"{self.name}: {key} must be {self.hyper[key].kind}, got {value!r}"
                )

    def without_defaults(self, hyper: Mapping[str, Any]) -> dict[str, Any]:
        """Drop the hyper-parameters that are set to their default: they change nothing.

        What is left is in one spelling: 1 for a `float` becomes 1.0.
        """
        spelled = {k: float(v) if self.hyper[k].kind == "float" else v for k, v in hyper.items()}
        return {k: v for k, v in spelled.items() if v != self.hyper[k].default}


def describe(module: str, path: Path) -> list[MethodInfo]:
    """Read the methods that a file registers, and what they inherit, without running anything.

    Args:
        module: Its importable name, or the path of a plugin file.
        path: The file.

    Raises:
        BenchError: The file is no Python, a base cannot be followed to the file it is written in,
            or something that must be declared is no literal. One line: file, line, what to do.
    """
    alone = module.endswith(".py")
    file = source.read(path, "" if alone else module)
    bases = Bases(path.resolve().parent if alone else None)
    return [
        _method(ClassSource.of(file, statement), _name(file, call), module, bases)
        for _, call, statement in source.decorators(file, ("register",))
        if isinstance(statement, ast.ClassDef) and _is_ours(file, call)
    ]


def _is_ours(file: SourceFile, call: ast.Call) -> bool:
    """Tell our decorator from another one of this name, which may take something else."""
    return _literal_name(call) is not None or "pai_bench" in {
        binding.value.module.partition(".")[0]
        for binding in file.bindings
        if binding.name == ast.unparse(call.func).partition(".")[0]
        and isinstance(binding.value, Imported)
    }


def _name(file: SourceFile, call: ast.Call) -> str:
    name = _literal_name(call)
    if name is None:
        raise BenchError(f'{file.at(call.lineno)}: write @register("name") with the name itself')
    check_name("method", name, f"{file.at(call.lineno)}: ")
    if re.search(r"[\s,()]", name):
        where = file.at(call.lineno)
        raise BenchError(f"{where}: method {name!r}: a name has no blank, comma or bracket")
    return name


def _literal_name(call: ast.Call) -> str | None:
    match call.args:
        case [ast.Constant(value=str(name))]:
            return name
    return None


def _method(cls: ClassSource, name: str, module: str, bases: Bases) -> MethodInfo:
    return MethodInfo(
        name=name,
        module=module,
        path=str(cls.file.path),
        line=cls.node.lineno,
        about=(ast.get_docstring(cls.node) or "").partition("\n")[0],
        hyper=_hyper(cls, bases),
        **{
            key: _literal(*declared)
            for key, declared in _declared(cls, bases).items()
            if key in FACTS
        },
    )


_Declared = tuple[SourceFile, Binding]


def _declared(cls: ClassSource, bases: Bases) -> dict[str, _Declared]:
    """Find what the body of a class and those of its bases bind; the nearest counts."""
    return {
        binding.name: (owner.file, binding)
        for owner in reversed(bases.mro(cls))
        for binding in source.bindings(owner.node.body)
    }


def _hyper(cls: ClassSource, bases: Bases) -> dict[str, HyperParameter]:
    """Read the fields of a method's `Hyper`, with those that it inherits."""
    hyper_class = bases.member(cls, "Hyper")
    if not isinstance(hyper_class, ClassSource):
        return {}
    fields: dict[str, _Declared] = {}
    for owner in reversed(bases.mro(hyper_class)):
        for binding in source.bindings(owner.node.body):
            if _is_field(binding):
                fields[binding.name] = owner.file, binding
            elif binding.name in fields:
                raise BenchError(
                    f"{owner.file.at(binding.line)}: {binding.name} is a hyper-parameter of a "
                    f"base: write `{binding.name}: type = value` to change its default"
                )
    return {name: _parameter(*declared) for name, declared in fields.items()}


def _parameter(file: SourceFile, binding: Binding) -> HyperParameter:
    """Read one field. A default that a frozen dataclass cannot have is found before a cell runs."""
    parameter = HyperParameter(binding.kind, _literal(file, binding))
    if isinstance(parameter.default, list | dict | set) or not parameter.accepts(parameter.default):
        raise BenchError(
            f"{file.at(binding.line)}: {binding.name}: the default {parameter.default!r} is no "
            f"{parameter.kind} that a frozen dataclass can hold"
        )
    return parameter


def _is_field(binding: Binding) -> bool:
    """Tell a field of a dataclass from a plain attribute, by its annotation."""
    return bool(binding.kind) and "ClassVar" not in binding.kind


def _literal(file: SourceFile, binding: Binding) -> Any:
    """Evaluate what a statement declares."""
    with contextlib.suppress(ValueError, TypeError):
        if isinstance(binding.value, ast.expr) and not binding.conditional:
            return ast.literal_eval(binding.value)
    raise BenchError(
        f"{file.at(binding.line)}: {binding.name} must be a literal, as in `{binding.name} = 1`, "
        "written in the class without a condition: it is read without running the file"
    )
