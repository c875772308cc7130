"""Code that is named, not imported: `module:function`, `file.py:function`, entry points."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from pai_bench.core.errors import BenchError

T = TypeVar("T")


def resolve(target: str) -> Callable[..., Any]:
    """Import the function `module:function`. What the import raises is passed on.

    The current folder is looked into: `python -m` does so, a console script does not.
    """
    module, _, function = target.rpartition(":")
    _see(Path.cwd())
    resolved: Callable[..., Any] = getattr(sys.modules[load(module)], function)
    return resolved


def load(module: str) -> str:
    """Import a module by name, or a file by path; return the name it has in sys.modules.

    A file finds modules beside it, as a script does, but after all others.
    """
    if not module.endswith(".py"):
        return importlib.import_module(module).__name__
    path = Path(module).resolve()
    content = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()
    name = f"pai_bench_plugin_{path.stem}_{content[:12]}"
    if name not in sys.modules:
        _see(path.parent, last=True)
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


def installed(group: str) -> Iterator[tuple[str, Path]]:
    """Find the modules that installed packages name as entry points of `group`, and their files."""
    for point in entry_points(group=group):
        try:
            spec = importlib.util.find_spec(point.module)
        except ImportError:
            spec = None
        if spec is None or spec.origin is None:
            print(f"pai-bench: entry point {point.name}: no module {point.module}", file=sys.stderr)
            continue
        yield point.module, Path(spec.origin)


def declared(group: str, declarations_of: Callable[[str, Path], Iterable[T]]) -> Iterator[T]:
    """List what the entry points of `group` declare, as `read(module, path)` finds it in a file.

    What cannot be read is one line on standard error: a broken package stops nothing else.
    """
    for module, path in installed(group):
        try:
            yield from list(declarations_of(module, path))
        except BenchError as error:
            print(f"pai-bench: {error}", file=sys.stderr)


def digest(target: str) -> str:
    """SHA-256 of the file that holds `module:function`, found without importing it.

    Raises BenchError when there is no such file.
    """
    module = target.rpartition(":")[0]
    _see(Path.cwd())
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise BenchError(f"no module {module} here or among installed packages")
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def _see(folder: Path, last: bool = False) -> None:
    """Let imports look into a folder, before all others or after them."""
    if str(folder) not in sys.path:
        sys.path.insert(len(sys.path) if last else 0, str(folder))
        importlib.invalidate_caches()
