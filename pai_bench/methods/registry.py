"""Find methods by name, and read what they declare without importing them.

A method is a class decorated with `@register("name")` in one of four places: `baselines/*.py`,
`reproductions/*/method.py`, an entry point of the group `pai_bench.methods` in an installed
package, or a file named with `--plugin`. Declarations (version, facts, hyper-parameters) are read
from the source text, so that listing methods imports no torch and a method whose module cannot be
imported is still listed; `load` imports the one that is to run.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pai_bench.errors import BenchError, near_miss, unknown

if TYPE_CHECKING:
    from pai_bench.methods.base import SparseClassifier

T = TypeVar("T", bound=type)

FACTS = ("version", "paper", "when", "prunes", "needs_data", "needs_labels")
_ROOT = Path(__file__).parents[2]
_registered: dict[str, type] = {}


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
        kinds: dict[str, tuple[type, ...]] = {"float": (int, float), "int": (int,), "str": (str,)}
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
    hyper: Mapping[str, HyperParameter] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """File and line, relative to the project where it lies inside."""
        path = Path(self.path)
        shown = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path
        return f"{shown}:{self.line}"

    def check(self, given: Mapping[str, Any]) -> None:
        """Raise BenchError unless every hyper-parameter in `given` exists and has its type."""
        for key, value in given.items():
            if key not in self.hyper:
                raise BenchError(
                    f'{self.name} has no hyper-parameter "{key}"; {near_miss(key, self.hyper)}'
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


def register(name: str) -> Callable[[T], T]:
    """Class decorator: make a method known by `name`."""

    def keep(cls: T) -> T:
        cls.name = name  # type: ignore[attr-defined]
        _registered[f"{cls.__module__}:{name}"] = cls
        return cls

    return keep


@cache
def available(plugins: tuple[Path, ...] = ()) -> dict[str, MethodInfo]:
    """Describe every method that can be found, by name.

    A name that stands in two places belongs to the first: built in, then entry points, then
    plugin files. A plugin that tries to take a known name is an error that names both places.
    """
    found: dict[str, MethodInfo] = {}
    for module, path in [*_built_in(), *_installed()]:
        for info in _describe(module, path):
            found.setdefault(info.name, info)
    for plugin in plugins:
        if not plugin.is_file():
            raise BenchError(f"--plugin {plugin}: no such file")
        described = _describe(str(plugin), plugin)
        if not described:
            raise BenchError(f'{plugin}: no class here is decorated with @register("name")')
        for info in described:
            if info.name in found:
                raise BenchError(
                    f'{info.origin}: the name "{info.name}" is taken by '
                    f"{found[info.name].origin}; choose another"
                )
            found[info.name] = info
    return found


def load(name: str, plugins: tuple[Path, ...] = ()) -> type[SparseClassifier]:
    """Import the method called `name` and check that it is one.

    Raises BenchError when the name is unknown, the import fails, or the class is no method.
    """
    from pai_bench.methods.base import SparseClassifier

    methods = available(plugins)
    if name not in methods:
        raise unknown("method", name, methods)
    info = methods[name]
    try:
        module = _import(info.module)
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise BenchError(f"{info.origin}: {type(error).__name__}: {first}") from error
    cls = _registered[f"{module}:{name}"]
    if not issubclass(cls, SparseClassifier):
        raise BenchError(f"{info.origin}: {cls.__name__} must be a subclass of SparseClassifier")
    for field_ in dataclasses.fields(cls.Hyper):
        if field_.name not in info.hyper:
            problem = "must be written in this file with a literal default"
            raise BenchError(f"{info.origin}: hyper-parameter {field_.name} {problem}")
    return cls


def _import(module: str) -> str:
    """Import a module by name, or a plugin file by path; return the name it has in sys.modules."""
    if not module.endswith(".py"):
        return importlib.import_module(module).__name__
    path = Path(module).resolve()
    content = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()
    name = f"pai_bench_plugin_{path.stem}_{content[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} cannot be loaded as a Python module")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
    return name


def _built_in() -> Iterator[tuple[str, Path]]:
    for path in sorted((_ROOT / "baselines").glob("[!_]*.py")):
        yield f"baselines.{path.stem}", path
    for path in sorted((_ROOT / "reproductions").glob("*/method.py")):
        yield f"reproductions.{path.parent.name}.method", path


def _installed() -> Iterator[tuple[str, Path]]:
    for point in entry_points(group="pai_bench.methods"):
        try:
            spec = importlib.util.find_spec(point.module)
        except ImportError:
            spec = None
        if spec is None or spec.origin is None:
            print(f"pai-bench: entry point {point.name}: no module {point.module}", file=sys.stderr)
            continue
        yield point.module, Path(spec.origin)


@dataclass(frozen=True)
class _Declaration:
    """One class statement: its bases by name, its literal attributes, its hyper-parameters."""

    node: ast.ClassDef
    bases: tuple[str, ...]
    facts: Mapping[str, Any]
    hyper: Mapping[str, HyperParameter]
    registered: str | None


def _describe(module: str, path: Path) -> list[MethodInfo]:
    """Read the methods that a file registers."""
    return [
        MethodInfo(
            name=declared.registered,
            module=module,
            path=str(path.resolve()),
            line=declared.node.lineno,
            about=(ast.get_docstring(declared.node) or "").partition("\n")[0],
            hyper=_inherited(name, path, "hyper"),
            **_inherited(name, path, "facts"),
        )
        for name, declared in _declarations(path).items()
        if declared.registered is not None
    ]


def _inherited(name: str, path: Path, what: str) -> dict[str, Any]:
    """Merge what a class and its bases declare, nearest first; bases are looked up by name."""
    places = [path, Path(__file__).with_name("base.py"), *(place for _, place in _built_in())]
    for place in places:
        declared = _declarations(place).get(name)
        if declared is not None:
            merged: dict[str, Any] = {}
            for base in reversed(declared.bases):
                merged.update(_inherited(base, place, what))
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
