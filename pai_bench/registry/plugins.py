"""Networks and data sets of one's own: declared in a file, read without importing it.

As for methods there are three ways: an installed package's entry points (groups
`pai_bench.networks` and `pai_bench.data`), a file given with `--plugin`, and the decorators below.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pai_bench.config.schema import Benchmark, Data, Network
from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError, check_name
from pai_bench.core.project import at
from pai_bench.core.registry import Registry
from pai_bench.registry import source

F = TypeVar("F", bound=Callable[..., Any])
KINDS: dict[str, type[BaseModel]] = {"network": Network, "dataset": Data}


def network(name: str, **settings: Any) -> Callable[[F], F]:
    """Declare a function of (shape, classes) as the network called `name`.

    The function is given the shape of an image, (channels, height, width), and the number of
    classes; it returns an `nn.Module` that maps images (N, C, H, W) to logits (N, classes).

    Args:
        name: What users write, as in `--network my-net`.
        **settings: Those of a network in benchmark.yaml, all written as literals, since the file is
            read before it is run: `init`, `dense` (layers that are never pruned), `version`, `macs`
            (multiply-adds of one image).

    Returns:
        The decorator; it returns the function as it is.
    """
    return lambda function: function


def dataset(name: str, **settings: Any) -> Callable[[F], F]:
    """Declare a function without arguments as the data set called `name`.

    The function returns ((train images, train labels), (test images, test labels)), arrays or
    tensors: images uint8 (N, C, H, W), labels integers (N,).

    Args:
        name: What users write, as in `--data my-data`.
        **settings: Those of a data set in benchmark.yaml, all written as literals: `classes`,
            `shape` (C, H, W), `images` (train, test), `mean` and `std` (of each channel, of pixels
            from 0 to 1), and `digest` if it is pinned.

    Returns:
        The decorator; it returns the function as it is.
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
    registries: dict[str, Registry[Any]] = {kind: Registry(kind) for kind in KINDS}
    for kind, named in (("network", settings.networks), ("dataset", settings.data)):
        for name, one in named.items():
            registries[kind].declare(name, one, origin="benchmark.yaml")
    for group in ("pai_bench.networks", "pai_bench.data"):
        for declaration in import_utils.declared(group, declarations):
            _declare(registries, declaration, required=False)
    for path in plugins:
        for declaration in declarations(str(path), path):
            _declare(registries, declaration, required=True)
    return settings.model_copy(
        update={"networks": dict(registries["network"]), "data": dict(registries["dataset"])}
    )


def _declare(
    registries: Mapping[str, Registry[Any]], declaration: Declaration, required: bool
) -> None:
    registries[declaration.kind].declare(
        declaration.name, declaration.settings, origin=declaration.origin, required=required
    )


def declarations(module: str, path: Path) -> list[Declaration]:
    """Read the networks and data sets that the file at `path` declares, without running it.

    Raises BenchError, with file and line, for settings that are no literals or not allowed.
    """
    decorated = source.decorators(source.read(path), KINDS)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return [
        _declaration(kind, call, f"{module}:{function.name}", path, digest)
        for kind, call, function in decorated
        if isinstance(function, ast.FunctionDef)
    ]


def _declaration(kind: str, call: ast.Call, target: str, path: Path, digest: str) -> Declaration:
    origin = at(path, call.lineno)
    try:
        (name,) = (ast.literal_eval(argument) for argument in call.args)
        arguments = {str(key.arg): ast.literal_eval(key.value) for key in call.keywords}
    except ValueError:
        problem = f'write @{kind}("name", key=value, ...) with literal values'
        raise BenchError(f"{origin}: {problem}") from None
    check_name(kind, str(name), f"{origin}: ")
    # Code is part of what is declared: a changed file makes new cells.
    fields = {"build": target} if kind == "network" else {"load": target, "code": digest}
    if kind == "network":
        arguments.setdefault("version", int(digest[:8], 16) or 1)
    try:
        settings: Any = KINDS[kind].model_validate_json(json.dumps({**arguments, **fields}))
    except (ValidationError, TypeError) as error:
        raise BenchError(f"{origin}: {kind} {name}: {_first(error)}") from None
    return Declaration(kind, str(name), settings, origin)


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}".removeprefix(": ")
