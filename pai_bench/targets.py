"""Functions that settings name as `module:function`, those of the current folder among them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pai_bench.errors import BenchError


def resolve(target: str) -> Callable[..., Any]:
    """Import the function `module:function`. What the import raises is passed on."""
    module, _, function = target.partition(":")
    _see_current_folder()
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def digest(target: str) -> str:
    """SHA-256 of the file that holds `module:function`, found without importing it.

    Raises BenchError when there is no such file.
    """
    module = target.partition(":")[0]
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
