"""A page that needs nothing else: no network, no server, no build."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

_WEB = Path(__file__).with_name("web")
_SCRIPTS = (
    "elements", "numbers", "data", "looks", "labels", "plot", "download", "axes", "chart",
    "ranking", "board", "table", "table_files", "cell", "method", "claims", "filters", "route",
)  # fmt: skip
"""In the order in which they are run, as one program."""
_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def embed(value: Any) -> str:
    """Write JSON that can stand inside a script element whatever its strings say.

    It is one line. NaN and infinities, which JSON lacks, raise ValueError.

    >>> print(embed({"reason": "</script>"}))
    {"reason":"\\u003c/script\\u003e"}
    """
    text = _JSON.encode(value)
    for character, escaped in _ESCAPES.items():  # outside of strings, JSON has none of these
        text = text.replace(character, escaped)  # ten times as fast as `translate`
    return text


def render(
    page: Mapping[str, Any], shared: Mapping[str, Any], cells: Iterable[str]
) -> Iterator[str]:
    """Put boards and claims, and lines with what single cells are, into the page that draws them.

    Yields the page's text in pieces: as a whole it takes megabytes. `cells` are lines made by
    `embed`, each beginning with the cell's id; `shared` holds what they refer to by number.
    """
    parts: dict[str, Iterable[str]] = {
        "STYLE": [_read("page.css")],
        "DATA": [embed(dict(page))],
        "DETAILS": chain([embed(dict(shared))], (f"\n{line}" for line in cells)),
        "PROGRAM": ["\n".join(_read(f"{name}.js") for name in _SCRIPTS)],
    }
    # Text and names of slots take turns; what fills a slot is never looked at.
    for index, part in enumerate(_read("page.html").split("@@")):
        yield from parts[part] if index % 2 else [part]


def _read(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")
