"""A YAML file with the line on which each key stands: for errors that say where."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import BaseModel, ValidationError

from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError, did_you_mean, first_line

Location = tuple[str | int, ...]


# libyaml's parser, where PyYAML was built with it, is several times as fast.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"


class Loader(_SafeLoader):  # type: ignore[misc]
    """SafeLoader that reads numbers as YAML 1.2 and people do.

    `1e-4` is one; `010` and `1:30`, which YAML 1.1 takes for 8 and 90, are none.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in known if tag not in (_INT, _FLOAT)]
        for first, known in _SafeLoader.yaml_implicit_resolvers.items()
    }


_FIRST = list("-+.0123456789")
Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$"), _FIRST)
Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"^[-+]?((\d[\d_]*\.\d*|\.\d+)([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|Inf|INF))$"
        r"|^\.(nan|NaN|NAN)$"
    ),
    _FIRST,
)


class Document:
    """The content of a YAML file, and the line on which each key stands."""

    def __init__(
        self, path: Path, model: type[BaseModel] = Benchmark, loader: type[Any] = Loader
    ) -> None:
        self.path, self.model = path, model
        self.lines: dict[Location, int] = {(): 1}
        self.parts: dict[Location, Document] = {}
        """Files that keys were taken from, by section and name."""
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
            tab = "\t" in "".join(text.splitlines()[line - 1 : line])
            hint = "; indent with spaces, not with tabs" if tab else ""
            raise BenchError(f"{path}:{line}: not valid YAML: {error.problem}{hint}") from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise BenchError(f"{path}:{line}: not valid YAML: {error.reason}") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise BenchError(f"{path}:1: cannot be read: {first_line(error)}") from None

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

    def take(self, other: Document, section: str, name: object) -> None:
        """Take an entry of a section from another file, which errors about it will name."""
        self.content.setdefault(section, {})[name] = other.content[section][name]
        self._adopt(other, (section,))
        self._adopt(other, (section, str(name)))
        place = section, str(name)
        self.lines |= {at: line for at, line in other.lines.items() if at[:2] == place}

    def _adopt(self, other: Document, at: Location) -> None:
        """Let errors about a key name another file, unless it stands in this one too."""
        if at not in self.lines:
            self.lines[at] = other.lines[at]
            self.parts[at] = other

    def as_json(self) -> str:
        """The content as JSON. Raises BenchError for what YAML knows and JSON does not."""
        try:
            return json.dumps(self.content, default=str)
        except (ValueError, TypeError, RecursionError) as error:
            raise BenchError(f"{self.path}:1: cannot be read: {first_line(error)}") from None

    def where(self, at: Location) -> str:
        """File and line of a key."""
        return f"{self.parts.get(at[:2], self).path}:{self.lines[at]}"

    def error(self, at: Location, problem: str, line: int | None = None) -> BenchError:
        """Say what is wrong at key `at`, with the line of the nearest key that exists."""
        if at[:2] in self.parts:
            return self.parts[at[:2]].error(at, problem, line)
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
            # A key that stands nowhere: one that YAML merged in (`<<`).
            hint = did_you_mean(str(first["loc"][-1]), _keys_at(self.model, first["loc"][:-1]))
            key = "" if at else f" {first['loc'][-1]!r}"
            return self.error(at, f"unknown key{key}; {hint}{more}")
        if first["type"] == "missing":
            return self.error(at, f'"{first["loc"][-1]}" is missing{more}')
        if at[:1] == ("suites",) and at[2:3] == ("methods",) and len(at) > 3:
            return self.error(at, f'write "name" or "name: {{hyper-parameter: value}}"{more}')
        value = first["input"]
        shown = "" if isinstance(value, (dict, list)) else f", got {json.dumps(value)}"
        return self.error(at, f"{first['msg'][0].lower()}{first['msg'][1:]}{shown}{more}")

    def _existing(self, at: Location) -> Location:
        """Drop the parts of a pydantic location that are no keys (names of union members)."""
        existing: Location = ()
        for part in at:
            if (*existing, part) in self.lines:
                existing = (*existing, part)
        return existing


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
