"""What a class inherits, read from the files that its bases are written in."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import resolve_name
from pathlib import Path

from pai_bench.core.errors import BenchError
from pai_bench.registry import source
from pai_bench.registry.source import Binding, Imported, SourceFile

NOT_READ = {"torch", "pytorch_lightning", "lightning", *sys.stdlib_module_names}
"""Top-level modules whose classes declare nothing to us: bases from there are passed over."""


@dataclass(frozen=True)
class ClassSource:
    """A class statement, and the file that it stands in."""

    file: SourceFile = field(compare=False)
    node: ast.ClassDef = field(compare=False)
    place: tuple[Path, int]
    """File and line: what makes two of these the same class."""

    @classmethod
    def of(cls, file: SourceFile, node: ast.ClassDef) -> ClassSource:
        """Tell a class by where it stands."""
        return cls(file, node, (file.path, node.lineno))

    @property
    def origin(self) -> str:
        """File and line, for messages."""
        return self.file.at(self.node.lineno)

    def binding(self, name: str) -> Binding | None:
        """Find what the body of the class, without its bases, gives `name` to."""
        bindings = [binding for binding in source.bindings(self.node.body) if binding.name == name]
        return bindings[-1] if bindings else None


@dataclass(frozen=True)
class NotRead:
    """A class or module of which nothing needs to be known."""


Followed = ClassSource | SourceFile | NotRead


class Bases:
    """Follows bases from file to file, as an import would; nothing is run.

    Every method raises BenchError, with the file and line to mend, for a base that cannot be
    followed: one that is computed, or comes from a star import or a module that is not there.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Look for modules in `folder`, that of a plugin file, after all other places."""
        self.folder = folder
        self._entered: set[object] = set()
        self._orders: dict[ClassSource, tuple[ClassSource, ...]] = {}

    def mro(self, cls: ClassSource) -> tuple[ClassSource, ...]:
        """List a class and its bases in the order in which Python looks into them."""
        if cls not in self._orders:
            with self._once(cls.place, cls.origin):
                bases = list(self._direct(cls))
                merged = _merged([*(self.mro(base) for base in bases), bases])
            if merged is None:
                raise BenchError(f"{cls.origin}: the bases of {cls.node.name} contradict another")
            self._orders[cls] = (cls, *merged)
        return self._orders[cls]

    def _direct(self, cls: ClassSource) -> Iterator[ClassSource]:
        for expression in cls.node.bases:
            base = self.follow(expression, cls.file, cls.node.lineno)
            if isinstance(base, SourceFile):
                raise BenchError(f"{cls.origin}: {ast.unparse(expression)} is a module, no class")
            if isinstance(base, ClassSource):
                yield base

    def member(self, cls: ClassSource, name: str) -> Followed | None:
        """Follow the class that `name` is inside of `cls` or of the nearest base that has it."""
        for owner in self.mro(cls):
            binding = owner.binding(name)
            if binding is not None:
                return self._value(binding, owner.file)
        return None

    def follow(self, expression: ast.expr, file: SourceFile, line: int) -> Followed:
        """Find what an expression on a line of a file names: `Base`, `module.Base`, `Base[T]`."""
        match expression:
            case ast.Name(id=name):
                return self._named(file, name, line, line)
            case ast.Subscript(value=value):
                return self.follow(value, file, line)
            case ast.Attribute(value=value, attr=name):
                return self._attribute(self.follow(value, file, line), name, file.at(line))
        raise BenchError(
            f"{file.at(line)}: the base {ast.unparse(expression)} is computed: what it declares "
            "cannot be read; name a class"
        )

    def _attribute(self, owner: Followed, name: str, where: str) -> Followed:
        if isinstance(owner, NotRead):
            return owner
        if isinstance(owner, SourceFile):
            return self._of_module(owner, name, where)
        inside = self.member(owner, name)
        if inside is None:
            raise BenchError(f"{where}: {owner.node.name} ({owner.origin}) has no class {name}")
        return inside

    def _of_module(self, file: SourceFile, name: str, where: str) -> Followed:
        if file.is_package and file.binding(name) is None:
            dotted = f"{file.module}.{name}"
            spec = source.find_module(dotted, self.folder)
            if spec is not None:
                return self._module(dotted, where)
        return self._named(file, name, None, None)

    def _named(self, file: SourceFile, name: str, before: int | None, line: int | None) -> Followed:
        binding = file.binding(name, before)
        if binding is not None:
            with self._once((file.path, name, binding.line), file.at(binding.line)):
                return self._value(binding, file)
        star = file.binding("*", before)
        if star is not None:
            raise BenchError(
                f"{file.at(star.line)}: import * hides where {name} is from, and so what it "
                f"declares; import {name} by name"
            )
        if hasattr(builtins, name):
            return NotRead()
        raise BenchError(
            f"{file.at(line or 1)}: no class or import called {name} at the top of this file: what "
            "it declares cannot be read"
        )

    def _value(self, binding: Binding, file: SourceFile) -> Followed:
        value = binding.value
        if isinstance(value, ast.ClassDef):
            return ClassSource.of(file, value)
        if isinstance(value, Imported):
            return self._imported(value, file, binding.line)
        if value is not None:
            return self.follow(value, file, binding.line)
        raise BenchError(
            f"{file.at(binding.line)}: {binding.name} is computed: what it declares cannot be "
            "read; name a class"
        )

    def _imported(self, imported: Imported, file: SourceFile, line: int) -> Followed:
        where = file.at(line)
        name = imported.module
        if name.startswith("."):
            if not file.package:
                raise BenchError(
                    f"{where}: a file by itself is in no package; write `from module import "
                    f"{imported.name}` for a module beside it"
                )
            name = _absolute(name, file.package, where)
        module = self._module(name, where)
        if imported.name is None:
            return module
        return self._attribute(module, imported.name, where)

    def _module(self, name: str, where: str) -> SourceFile | NotRead:
        if name.partition(".")[0] in NOT_READ:
            return NotRead()
        spec = source.find_module(name, self.folder)
        if spec is None:
            raise BenchError(f"{where}: no module {name}: what a base from there declares is lost")
        if spec.origin is None and spec.submodule_search_locations:
            return source.read(Path(next(iter(spec.submodule_search_locations))), name)
        if spec.origin is None or not spec.origin.endswith(".py"):
            raise BenchError(f"{where}: {name} has no Python source: its classes cannot be read")
        return source.read(Path(spec.origin), name)

    @contextmanager
    def _once(self, what: object, where: str) -> Iterator[None]:
        """Refuse to go in circles."""
        if what in self._entered:
            raise BenchError(f"{where}: this leads back to itself; import the class where it is")
        self._entered.add(what)
        try:
            yield
        finally:
            self._entered.discard(what)


def _absolute(name: str, package: str, where: str) -> str:
    try:
        return resolve_name(name, package)
    except ImportError as error:
        raise BenchError(f"{where}: {error}") from None


def _merged(rows: Sequence[Sequence[ClassSource]]) -> list[ClassSource] | None:
    """Merge the orders of the bases as Python does (C3); None where they contradict."""
    merged: list[ClassSource] = []
    while left := [row for row in rows if row]:
        heads = (row[0] for row in left)
        first = next((head for head in heads if not any(head in row[1:] for row in left)), None)
        if first is None:
            return None
        merged.append(first)
        rows = [row[1:] if row[0] == first else row for row in left]
    return merged
