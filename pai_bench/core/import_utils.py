"""Code that is named, not imported: `module:function`, `file.py:function`, entry points."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pai_bench.core.errors import BenchError


def resolve(target: str) -> Callable[..., Any]:
    """Import the function `module:function`. What the import raises is passed on."""
    module, _, function = target.rpartition(":")
    _see_current_folder()
    found: Callable[..., Any] = getattr(sys.modules[load(module)], function)
    return found


def load(module: str) -> str:
    """Import a module by name, or a file by path; return the name it has in sys.modules."""
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


def digest(target: str) -> str:
    """SHA-256 of the file that holds `module:function`, found without importing it.

    Raises BenchError when there is no such file.
    """
    module = target.rpartition(":")[0]
    _see_current_folder()
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise BenchError(f"no module {module} here or among installed packages")
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def _see_current_folder() -> None:
    """Let imports look into the current folder: `python -m` does so, a console script does not."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
