"""Networks and data sets of one's own: declared in a file, read without importing it.

As for methods there are three doors: an installed package's entry points (groups
`pai_bench.networks` and `pai_bench.data`), a file given with `--plugin`, and the decorators below.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pai_bench.config.schema import Benchmark, Data, Network
from pai_bench.core.errors import BenchError
from pai_bench.core.import_utils import installed

F = TypeVar("F", bound=Callable[..., Any])
KINDS: dict[str, type[BaseModel]] = {"network": Network, "dataset": Data}


def network(name: str, **settings: Any) -> Callable[[F], F]:
    """Declare a function of (shape, classes) as the network called `name`.

    `settings` are those of a network in benchmark.yaml, written as literals: `init`, `dense`,
    `version`, `macs`.
    """
    return lambda function: function


def dataset(name: str, **settings: Any) -> Callable[[F], F]:
    """Declare a function without arguments as the data set called `name`.

    It returns ((train images, train labels), (test images, test labels)), arrays or tensors: images
    uint8 (N, C, H, W), labels integers (N,). `settings` are those of a data set in benchmark.yaml,
    written as literals: `classes`, `shape`, `images`, `mean`, `std`, and `digest` if it is pinned.
    """
    return lambda function: function


@dataclass(frozen=True)
class Declaration:
    """What one decorated function declares."""

    kind: str
    name: str
    settings: Network | Data
    origin: str


def extend(settings: Benchmark, plugins: Iterable[Path]) -> Benchmark:
    """Add the networks and data sets of installed packages and of plugin files.

    A name that is taken already belongs to what had it first, benchmark.yaml before all: an
    installed package that wants it is passed over with a line that names both; for a plugin file
    that is an error.
    """
    known: dict[str, dict[str, Any]] = {
        "network": dict(settings.networks),
        "dataset": dict(settings.data),
    }
    origins = {(kind, name): "benchmark.yaml" for kind, names in known.items() for name in names}
    for found, from_file in _all(plugins):
        key = found.kind, found.name
        if key in origins:
            problem = f'{found.origin}: the {found.kind} "{found.name}" is taken by {origins[key]}'
            if from_file:
                raise BenchError(f"{problem}; choose another name")
            print(f"pai-bench: {problem}; passed over", file=sys.stderr)
            continue
        known[found.kind][found.name] = found.settings
        origins[key] = found.origin
    return settings.model_copy(update={"networks": known["network"], "data": known["dataset"]})


def _all(plugins: Iterable[Path]) -> Iterator[tuple[Declaration, bool]]:
    for group in ("pai_bench.networks", "pai_bench.data"):
        for module, path in installed(group):
            yield from ((found, False) for found in declarations(module, path))
    for path in plugins:
        yield from ((found, True) for found in declarations(str(path), path))


def declarations(module: str, path: Path) -> list[Declaration]:
    """Read the networks and data sets that the file at `path` declares, without running it.

    Raises BenchError, with file and line, for settings that are no literals or not allowed.
    """
    try:
        content = path.read_bytes()
        tree = ast.parse(content, filename=str(path))
    except (OSError, SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise BenchError(f"{path}:{line}: cannot be read as Python: {error}") from None
    digest = hashlib.sha256(content).hexdigest()
    found = []
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        for call in (node for node in function.decorator_list if isinstance(node, ast.Call)):
            kind = ast.unparse(call.func).rpartition(".")[2]
            if kind in KINDS:
                found.append(_declaration(kind, call, f"{module}:{function.name}", path, digest))
    return found


def _declaration(kind: str, call: ast.Call, target: str, path: Path, digest: str) -> Declaration:
    origin = f"{path}:{call.lineno}"
    try:
        (name,) = (ast.literal_eval(argument) for argument in call.args)
        given = {str(key.arg): ast.literal_eval(key.value) for key in call.keywords}
    except ValueError:
        problem = f'write @{kind}("name", key=value, ...) with literal values'
        raise BenchError(f"{origin}: {problem}") from None
    # Code is part of what is declared: a changed file makes new cells.
    own = {"build": target} if kind == "network" else {"load": target, "code": digest}
    if kind == "network":
        given.setdefault("version", int(digest[:8], 16) or 1)
    try:
        settings: Any = KINDS[kind].model_validate_json(json.dumps({**given, **own}))
    except (ValidationError, TypeError) as error:
        raise BenchError(f"{origin}: {kind} {name}: {_first(error)}") from None
    return Declaration(kind, str(name), settings, origin)


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}".removeprefix(": ")
