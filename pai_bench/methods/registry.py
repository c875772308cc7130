"""Find methods by name, and import the ones that are to run.

A method is a class decorated with `@register("name")` in one of four places: `baselines/*.py`,
`reproductions/*/method.py`, an entry point of the group `pai_bench.methods` in an installed
package, or a file named with `--plugin`. Listing reads their declarations and imports nothing, so
a method whose module cannot be imported is still listed; `load` imports.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pai_bench.errors import BenchError, first_line, unknown
from pai_bench.methods.declaration import ROOT, MethodInfo, describe

if TYPE_CHECKING:
    from pai_bench.methods.base import SparseClassifier

T = TypeVar("T", bound=type)

_registered: dict[str, type] = {}


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
    places = [Path(__file__).with_name("base.py"), *(path for _, path in _built_in())]
    for module, path in [*_built_in(), *_installed()]:
        for info in describe(module, path, places):
            found.setdefault(info.name, info)
    for plugin in plugins:
        if not plugin.is_file():
            raise BenchError(f"--plugin {plugin}: no such file")
        described = describe(str(plugin), plugin, places)
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
        said = f"{type(error).__name__}: {first_line(error)}"
        raise BenchError(f"{info.origin}: {said}") from error
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
    for path in sorted((ROOT / "baselines").glob("[!_]*.py")):
        yield f"baselines.{path.stem}", path
    for path in sorted((ROOT / "reproductions").glob("*/method.py")):
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
