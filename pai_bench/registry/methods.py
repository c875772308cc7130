"""Find methods by name, and import the ones that are to run.

A method is a class decorated with `@register("name")` in one of four places: `baselines/*.py`,
`reproductions/*/method.py`, an entry point of the group `pai_bench.methods` in an installed
package, or a file named with `--plugin`. Listing reads their declarations and imports nothing, so
a method whose module cannot be imported is still listed; `load` imports.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError, first_line, unknown
from pai_bench.registry.declaration import PACKAGE, MethodInfo, describe

T = TypeVar("T", bound=type)

_registered: dict[str, type] = {}
BASE = "pai_bench.training.module:SparseClassifier"
"""What a method is: named, since listing methods imports no torch."""


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
    bases = [
        PACKAGE / name for name in ("training/module.py", "methods/base.py", "methods/dynamic.py")
    ]
    places = [*bases, *(path for _, path in _built_in())]
    for module, path in _built_in():
        found |= {info.name: info for info in describe(module, path, places)}
    for module, path in import_utils.installed("pai_bench.methods"):
        for info in _described(module, path, places):
            if info.name in found:
                taken = f'the name "{info.name}" is taken by {found[info.name].origin}'
                print(f"pai-bench: {info.origin}: {taken}; passed over", file=sys.stderr)
            else:
                found[info.name] = info
    for plugin in plugins:
        if not plugin.is_file():
            raise BenchError(f"--plugin {plugin}: no such file")
        described = describe(str(plugin), plugin, places)
        if not described and not _declares_else(plugin):
            raise BenchError(
                f'{plugin}: nothing here is decorated with @register("name"), @network or @dataset'
            )
        for info in described:
            if info.name in found:
                raise BenchError(
                    f'{info.origin}: the name "{info.name}" is taken by '
                    f"{found[info.name].origin}; choose another"
                )
            found[info.name] = info
    return found


def find(name: str) -> type[Any]:
    """Return the class called `name`: one that this process has registered itself, else load it."""
    if name not in available():
        for key, cls in _registered.items():
            if key.endswith(f":{name}"):
                return cls
    return load(name)


def check_hyper(cls: type[Any], given: Mapping[str, Any]) -> None:
    """Raise BenchError unless every hyper-parameter in `given` exists and has its type.

    Of a class that no file declares, only the names are known.
    """
    info = available().get(cls.name)
    if info is not None and cls.__module__ == info.module:
        return info.check(given)
    known = [field.name for field in dataclasses.fields(cls.Hyper)]
    for key in given:
        if key not in known:
            raise unknown("hyper-parameter", key, known, f"{cls.name}: ")
    return None


def _declares_else(plugin: Path) -> bool:
    """Tell whether a file without methods declares a network or a data set."""
    from pai_bench.registry.plugins import declarations

    return bool(declarations(str(plugin), plugin))


def _described(module: str, path: Path, places: list[Path]) -> list[MethodInfo]:
    """Describe an installed package's methods; one that cannot be read stops nothing else."""
    try:
        return describe(module, path, places)
    except BenchError as error:
        print(f"pai-bench: {error}", file=sys.stderr)
        return []


def load(name: str, plugins: tuple[Path, ...] = ()) -> type[Any]:
    """Import the method called `name` and check that it is one.

    Raises BenchError when the name is unknown, the import fails, or the class is no method.
    """

    methods = available(plugins)
    if name not in methods:
        raise unknown("method", name, methods)
    info = methods[name]
    try:
        module = import_utils.load(info.module)
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        raise BenchError(f"{info.origin}: {said}") from error
    cls: Any = _registered[f"{module}:{name}"]
    base: Any = import_utils.resolve(BASE)
    if not issubclass(cls, base):
        raise BenchError(f"{info.origin}: {cls.__name__} must be a subclass of SparseClassifier")
    if not dataclasses.is_dataclass(cls.Hyper):
        raise BenchError(f"{info.origin}: Hyper must be a frozen dataclass")
    for field_ in dataclasses.fields(cls.Hyper):
        if field_.name not in info.hyper:
            problem = "must be written in this file with a literal default"
            raise BenchError(f"{info.origin}: hyper-parameter {field_.name} {problem}")
    chosen: type[Any] = cls
    return chosen


def _built_in() -> Iterator[tuple[str, Path]]:
    for path in sorted((PACKAGE / "baselines").glob("[!_]*.py")):
        yield f"pai_bench.baselines.{path.stem}", path
    for path in sorted((PACKAGE / "reproductions").glob("*/method.py")):
        yield f"pai_bench.reproductions.{path.parent.name}.method", path
