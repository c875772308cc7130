"""Python files read, not run: the names at their top, and where an imported name comes from."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from pai_bench.core.errors import BenchError
from pai_bench.core.project import at


@dataclass(frozen=True)
class Imported:
    """What an import statement gives a name to."""

    module: str
    """As written, with the dots of a relative import."""
    name: str | None
    """Of `from module import name`; None for a module itself."""


@dataclass(frozen=True)
class Binding:
    """One statement that gives a name its value."""

    name: str
    line: int
    value: ast.ClassDef | ast.expr | Imported | None
    """None for what only running the file can tell."""
    kind: str = ""
    """The annotation, as written."""
    conditional: bool = False
    """Inside of if, try, with or a loop; `if TYPE_CHECKING` is no condition to a reader."""


@dataclass(frozen=True, eq=False)
class SourceFile:
    """A parsed file."""

    path: Path
    shown: str
    """The path as messages write it."""
    module: str
    """Its dotted name; empty for a file that is no module, as a plugin is."""
    body: tuple[ast.stmt, ...]
    bindings: tuple[Binding, ...]

    @property
    def package(self) -> str:
        """The package that its relative imports start from; empty where there is none."""
        return self.module if self.is_package else self.module.rpartition(".")[0]

    @property
    def is_package(self) -> bool:
        """Whether it may have submodules."""
        return self.path.name == "__init__.py" or self.path.is_dir()

    def at(self, line: int) -> str:
        """Write file and line, for messages."""
        return f"{self.shown}:{line}"

    def binding(self, name: str, before: int | None = None) -> Binding | None:
        """Find the statement that gives `name` the value it has at a line, or at the end.

        Raises BenchError where that depends on a condition.
        """
        candidates = [
            b for b in self.bindings if b.name == name and (not before or b.line < before)
        ]
        if len(candidates) > 1 and candidates[-1].conditional:
            lines = " or ".join(str(binding.line) for binding in candidates)
            raise BenchError(
                f"{self.at(candidates[-1].line)}: {name} comes from line {lines}, as it happens; "
                "import it in one place"
            )
        return candidates[-1] if candidates else None


def read(path: Path, module: str = "") -> SourceFile:
    """Parse a file, once as long as it stays as it is; a folder is a package without code.

    Raises BenchError, with file and line, for what is no Python.
    """
    path = path.resolve()
    try:
        status = path.stat()
        return _parse(path, module, (status.st_mtime_ns, status.st_size))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise BenchError(f"{at(path, line)}: cannot be read as Python: {error}") from None


@lru_cache(maxsize=512)
def _parse(path: Path, module: str, _stamp: tuple[int, int]) -> SourceFile:
    tree = ast.parse(b"" if path.is_dir() else path.read_bytes(), filename=str(path))
    shown = at(path, 0).removesuffix(":0")
    return SourceFile(path, shown, module, tuple(tree.body), tuple(bindings(tree.body)))


def bindings(body: Iterable[ast.stmt], conditional: bool = False) -> Iterator[Binding]:
    """List the names that statements bind, those inside of if, try, with and loops too."""
    for statement in body:
        for name, kind, value in _bound(statement):
            yield Binding(name, statement.lineno, value, kind, conditional)
        if not isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for part in ("body", "orelse", "handlers", "finalbody"):
                typing = part == "body" and _is_for_types(statement)
                yield from bindings(getattr(statement, part, ()), conditional or not typing)


def _is_for_types(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING")


_Value = ast.ClassDef | ast.expr | Imported | None


def _bound(statement: ast.stmt) -> Iterator[tuple[str, str, _Value]]:
    """List what one statement binds: name, annotation, value."""
    match statement:
        case ast.ClassDef(name=name):
            yield name, "", statement
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name, "", None
        case ast.Import() | ast.ImportFrom():
            yield from ((name, "", imported) for name, imported in _imports(statement))
        case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=value):
            if value is not None:
                yield name, ast.unparse(kind), value
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _assigned(target, value)
        case ast.AugAssign(target=ast.Name(id=name)):
            yield name, "", None


def _imports(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Imported]]:
    """List the names that an import statement binds; `*` is one of them."""
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            module = "." * statement.level + (statement.module or "")
            yield alias.asname or alias.name, Imported(module, alias.name)
        else:
            top = alias.name.partition(".")[0]
            yield alias.asname or top, Imported(alias.name if alias.asname else top, None)


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, str, ast.expr | None]]:
    match target, value:
        case ast.Name(id=name), _:
            yield name, "", value
        case ast.Tuple(elts=names), ast.Tuple(elts=values) if len(names) == len(values):
            for one, its in zip(names, values, strict=True):
                yield from _assigned(one, its)
        case ast.Tuple(elts=names), _:
            yield from ((name.id, "", None) for name in names if isinstance(name, ast.Name))


def decorators(file: SourceFile, names: Iterable[str]) -> Iterator[tuple[str, ast.Call, ast.stmt]]:
    """List the calls that decorate a class or function at the top: its name, call, statement.

    `names` are names of ours; under another name (`import register as reg`) they are found too.
    """
    for statement in _top(file.body):
        for call in getattr(statement, "decorator_list", ()):
            if isinstance(call, ast.Call):
                name = _own_name(file, call.func)
                if name in names:
                    yield name, call, statement


def _top(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            for part in ("body", "orelse", "handlers", "finalbody"):
                yield from _top(getattr(statement, part, ()))
        elif isinstance(statement, ast.ExceptHandler):
            yield from _top(statement.body)


def _own_name(file: SourceFile, function: ast.expr) -> str:
    """Name a function as the module that it is imported from does."""
    dotted = ast.unparse(function)
    for binding in file.bindings:
        if binding.name == dotted and isinstance(binding.value, Imported) and binding.value.name:
            return binding.value.name
    return dotted.rpartition(".")[2]


def find_module(name: str, folder: Path | None) -> ModuleSpec | None:
    """Find a module as an import would, without importing it or the packages that it lies in.

    Args:
        name: Its dotted name.
        folder: Of the plugin file that imports it: the last place to look, after `sys.path`.

    Returns:
        Its spec; None where there is no such module.

    Raises:
        BenchError: A file beside the plugin has the name, and another module would be imported.
    """
    top, *rest = name.split(".")
    spec = _top_module(top, folder)
    for depth, _ in enumerate(rest, 2):
        if spec is None or spec.submodule_search_locations is None:
            return None
        dotted = ".".join(name.split(".")[:depth])
        spec = PathFinder.find_spec(dotted, list(spec.submodule_search_locations))
    return spec


def _top_module(name: str, folder: Path | None) -> ModuleSpec | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if folder is None:
        return spec
    importlib.invalidate_caches()
    beside = PathFinder.find_spec(name, [str(folder)])
    if spec is None or beside is None or beside.origin is None:
        return spec or beside
    if spec.origin is None or Path(spec.origin).resolve() != Path(beside.origin).resolve():
        problem = f"`import {name}` finds {spec.origin} first"
        raise BenchError(f"{beside.origin}:1: {problem}; rename this file")
    return spec
