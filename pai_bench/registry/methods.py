"""Find methods by name, and import the ones that are to run.

A method is a class decorated with `@register("name")` in one of four places: `baselines/*.py`,
`reproductions/*/*method.py`, an entry point of the group `pai_bench.methods` in an installed
package, or a file named with `--plugin`. Listing reads their declarations and imports nothing, so
a method whose module cannot be imported is still listed; `load` imports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError, first_line, unknown
from pai_bench.core.project import PACKAGE
from pai_bench.core.registry import Registry
from pai_bench.registry import source
from pai_bench.registry.declaration import FACTS, MethodInfo, describe

T = TypeVar("T", bound=type)

_decorated: dict[tuple[str, str], type] = {}
"""What the decorator has been put on in this process, by module and name: imported from a file, or
written by hand in a notebook."""
BASE = "pai_bench.training.module:SparseClassifier"
"""What a method is: named, since listing methods imports no torch."""


def register(name: str) -> Callable[[T], T]:
    """Class decorator: make a method known by `name`.

    The class is read before it is run: what it declares about itself (`version`, `needs_data` and
    so on, and the fields of its `Hyper`) is written as literals, in its file or in that of a base.

    Args:
        name: What users write, as in `--methods my-method`. Written as a literal too.

    Returns:
        The decorator; it returns the class itself, with `name` as its attribute.
    """

    def keep(cls: T) -> T:
        cls.name = name  # type: ignore[attr-defined]
        _decorated[cls.__module__, name] = cls
        return cls

    return keep


def available(plugins: tuple[Path, ...] = ()) -> Registry[MethodInfo]:
    """Describe every method that can be found, by name.

    A name that stands in two places belongs to the first: built in, then entry points, then
    plugin files.

    Args:
        plugins: Files with methods of one's own.

    Raises:
        BenchError: A plugin is not there, declares nothing, cannot be read, or takes a name that
            is known.
    """
    if not plugins:
        return _without_plugins()
    methods = _without_plugins().copy()
    for plugin in plugins:
        if not plugin.is_file():
            raise BenchError(f"--plugin {plugin}: no such file")
        described = describe(str(plugin), plugin)
        if not described and not _declares_else(plugin):
            raise BenchError(
                f'{plugin}: nothing here is decorated with @register("name"), @network or @dataset'
            )
        _declare(methods, described)
    return methods


@cache
def _without_plugins() -> Registry[MethodInfo]:
    methods = Registry[MethodInfo]("method")
    for module, path in _built_in():
        _declare(methods, describe(module, path))
    _declare(methods, import_utils.declared("pai_bench.methods", describe), required=False)
    return methods


def _declare(
    methods: Registry[MethodInfo], described: Iterable[MethodInfo], required: bool = True
) -> None:
    for info in described:
        load = partial(_imported, info)
        methods.declare(info.name, info, origin=info.origin, load=load, required=required)


def _built_in() -> Iterator[tuple[str, Path]]:
    for path in sorted((PACKAGE / "baselines").glob("[!_]*.py")):
        yield f"pai_bench.baselines.{path.stem}", path
    for path in sorted((PACKAGE / "reproductions").glob("*/*method.py")):
        yield f"pai_bench.reproductions.{path.parent.name}.{path.stem}", path


def _declares_else(plugin: Path) -> bool:
    """Tell whether a file without methods declares a network or a data set."""
    return any(source.decorators(source.read(plugin), ("network", "dataset")))


def load(name: str, plugins: tuple[Path, ...] = ()) -> type[Any]:
    """Import the method called `name` and check that it is one.

    Raises BenchError when the name is unknown, the import fails, the class is no method, or it is
    not what its source declares.
    """
    method: type[Any] = available(plugins).load(name)
    return method


def find(name: str) -> type[Any]:
    """Return the class called `name`: one that this process has registered itself, else load it."""
    if name not in available():
        same_name = [cls for (_, registered), cls in _decorated.items() if registered == name]
        if same_name:
            return same_name[-1]
    return load(name)


def check_hyper(cls: type[Any], hyper: Mapping[str, Any]) -> None:
    """Raise BenchError unless every hyper-parameter in `hyper` exists and has its type.

    Of a class that no file declares, only the names are known.
    """
    info = available().get(cls.name)
    if info is not None and cls.__module__ == info.module:
        info.check(hyper)
        return
    names = [field.name for field in dataclasses.fields(cls.Hyper)]
    for key in hyper:
        if key not in names:
            raise unknown("hyper-parameter", key, names, f"{cls.name}: ")


def _imported(info: MethodInfo) -> type[Any]:
    """Import the method that was described. Raises BenchError where it is no such method."""
    try:
        module = import_utils.load(info.module)
    except Exception as error:
        raised = f"{type(error).__name__}: {first_line(error)}"
        raise BenchError(f"{info.origin}: {raised}") from error
    cls: Any = _decorated.get((module, info.name))
    if cls is None:
        raise BenchError(f"{info.origin}: its decorator is not pai_bench.register, or was not run")
    base: Any = import_utils.resolve(BASE)
    if not issubclass(cls, base):
        raise BenchError(f"{info.origin}: {cls.__name__} must be a subclass of SparseClassifier")
    if not dataclasses.is_dataclass(cls.Hyper):
        raise BenchError(f"{info.origin}: Hyper must be a frozen dataclass")
    problem = _unlike_source(cls, info)
    if problem:
        raise BenchError(f"{info.origin}: {problem}")
    method: type[Any] = cls
    return method


def _unlike_source(cls: type[Any], info: MethodInfo) -> str:
    """Say in what a class differs from what its source, and that of its bases, declares."""
    for fact in FACTS:
        real, declared_fact = getattr(cls, fact), getattr(info, fact)
        if not _same(real, declared_fact):
            mend = "write it as a literal in the class"
            return f"{fact} is {real!r}, its source reads as {declared_fact!r}; {mend}"
    fields = {field.name: field.default for field in dataclasses.fields(cls.Hyper)}
    for key in fields.keys() - info.hyper.keys():
        return f"hyper-parameter {key} must be written with its type and a literal default"
    mend = "decorate Hyper with @dataclass(frozen=True)"
    for key, declared in info.hyper.items():
        if key not in fields:
            return f"hyper-parameter {key} is no field of the class; {mend}"
        if not _same(fields[key], declared.default):
            difference = f"is {fields[key]!r}, its source reads as {declared.default!r}"
            return f"hyper-parameter {key} {difference}; {mend}"
    return ""


def _same(real: object, declared: object) -> bool:
    return type(real) is type(declared) and real == declared
