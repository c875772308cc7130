"""benchmark.yaml read and checked: every error names file, line, key and a near miss."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml
from pydantic import BaseModel, ValidationError

from pai_bench.config.schema import Benchmark, Suite
from pai_bench.core.errors import BenchError, did_you_mean

Location = tuple[str | int, ...]


class Checked(Protocol):
    """What is asked of a known method: whether hyper-parameters are its own."""

    def check(self, given: Mapping[str, Any]) -> None:
        """Raise BenchError for a hyper-parameter that the method does not have."""


def load(path: Path, methods: Mapping[str, Checked]) -> Benchmark:
    """Read and check benchmark.yaml against itself and against the known `methods`.

    Raises BenchError with one line: file, line, key, what is wrong and what was probably meant.
    """
    document = Document(path)
    try:
        settings = Benchmark.model_validate_json(json.dumps(document.content, default=str))
    except ValidationError as error:
        raise document.explain(error) from None
    _check_names(settings, document, methods)
    return settings


class Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-4` as a number, as YAML 1.2 and people do."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


class Document:
    """The content of a YAML file, and the line on which each key stands."""

    def __init__(
        self, path: Path, model: type[BaseModel] = Benchmark, loader: type[Any] = Loader
    ) -> None:
        self.path, self.model = path, model
        self.lines: dict[Location, int] = {(): 1}
        text = _read(path)
        try:
            reader = loader(text)
            root = reader.get_single_node()
            if root is None:
                raise BenchError(f"{path}:1: the file is empty")
            self._note_lines(root, ())
            self.content: Any = reader.construct_document(root)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise BenchError(f"{path}:{line}: not valid YAML: {error.problem}") from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise BenchError(f"{path}:{line}: not valid YAML: {error.reason}") from None

    def _note_lines(self, node: yaml.Node, at: Location) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*at, str(key.value))
                if here in self.lines:
                    raise self.error(here, "the key stands here twice", key.start_mark.line + 1)
                self.lines[here] = key.start_mark.line + 1
                self._note_lines(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[(*at, index)] = item.start_mark.line + 1
                self._note_lines(item, (*at, index))

    def error(self, at: Location, problem: str, line: int | None = None) -> BenchError:
        """Say what is wrong at key `at`, with the line of the nearest key that exists."""
        while line is None:
            line, nearest = self.lines.get(at), at[:-1]
            at = at if line is not None else nearest
        key = ".".join(map(str, at)) or "(top)"
        return BenchError(f"{self.path}:{line}: {key}: {problem}")

    def explain(self, error: ValidationError) -> BenchError:
        """Turn pydantic's complaints into one line: unknown keys first, they explain the others."""
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        at = self._existing(first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(str(at[-1]), _keys_at(self.model, at[:-1]))
            return self.error(at, f"unknown key; {hint}{more}")
        if first["type"] == "missing":
            return self.error(at, f'"{first["loc"][-1]}" is missing{more}')
        if at[:1] == ("suites",) and at[2:3] == ("methods",) and len(at) > 3:
            return self.error(at, f'write "name" or "name: {{hyper-parameter: value}}"{more}')
        given = first["input"]
        shown = "" if isinstance(given, (dict, list)) else f", got {json.dumps(given)}"
        return self.error(at, f"{first['msg'][0].lower()}{first['msg'][1:]}{shown}{more}")

    def _existing(self, at: Location) -> Location:
        """Drop the parts of a pydantic location that are no keys (names of union members)."""
        found: Location = ()
        for part in at:
            if (*found, part) in self.lines:
                found = (*found, part)
        return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}:1: not a text in UTF-8: {error.reason}") from None
    except OSError as error:
        raise BenchError(
            f"{path}: cannot be read ({error.strerror}); run from the folder that holds "
            "benchmark.yaml or name the file with --config"
        ) from None


def _keys_at(model: Any, at: Location) -> list[str]:
    """List the keys that a file of this model may hold at the location `at`."""
    for part in at:
        fields = getattr(model, "model_fields", {})
        if part in fields:
            annotation = fields[part].annotation
            arguments = getattr(annotation, "__args__", None)
            model = arguments[-1] if arguments else annotation
    return list(getattr(model, "model_fields", {}))


def _check_names(settings: Benchmark, document: Document, methods: Mapping[str, Checked]) -> None:
    """Check every reference by name: networks and suites to their parts, papers to suites."""

    def known(at: Location, kind: str, name: str, names: Iterable[str]) -> None:
        if name not in names:
            raise document.error(at, f'unknown {kind} "{name}"; {did_you_mean(name, names)}')

    for key, network in settings.networks.items():
        for name in network.macs:
            known(("networks", key, "macs", name), "data set", name, settings.data)
    for key, suite in settings.suites.items():
        known(("suites", key, "network"), "network", suite.network, settings.networks)
        known(("suites", key, "data"), "data set", suite.data, settings.data)
        known(("suites", key, "recipe"), "recipe", suite.recipe, settings.recipes)
        _check_steps(settings, suite, ("suites", key, "recipe"), document)
        for index, entry in enumerate(suite.methods):
            _check_method(entry, ("suites", key, "methods", index), document, methods)
    for key, paper in settings.papers.items():
        for index, name in enumerate(paper.methods):
            known(("papers", key, "methods", index), "method", name, methods)
        for short, name in paper.suites.items():
            known(("papers", key, "suites", short), "suite", name, settings.suites)
        known(("papers", key, "protocol"), "suite of this paper", paper.protocol, paper.suites)
        known(("papers", key, "suites"), "suite of this paper", "quick", paper.suites)


def _check_steps(settings: Benchmark, suite: Suite, at: Location, document: Document) -> None:
    """Check that a recipe that counts in steps allows for enough epochs on this data set."""
    recipe, images = settings.recipes[suite.recipe], settings.data[suite.data].images[0]
    if recipe.steps and recipe.steps * recipe.batch_size > recipe.epochs * images:
        per_epoch = f"{images} images at {recipe.batch_size} a step"
        raise document.error(at, f"{recipe.steps} steps of {per_epoch} need more epochs")


def _check_method(
    entry: str | dict[str, dict[str, Any]],
    at: Location,
    document: Document,
    methods: Mapping[str, Checked],
) -> None:
    """Check one method of a suite and its hyper-parameters."""
    given = method_entry(entry)
    if len(given) != 1:
        raise document.error(at, "an entry holds one method; start another one with a dash")
    for name, hyper in given.items():
        if name not in methods:
            raise document.error(at, f'unknown method "{name}"; {did_you_mean(name, methods)}')
        try:
            methods[name].check(hyper)
        except BenchError as error:
            raise document.error(at, str(error)) from None


def method_entry(entry: str | dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give both spellings of a suite's method the longer form.

    >>> method_entry("snip")
    {'snip': {}}
    """
    return {entry: {}} if isinstance(entry, str) else entry
