"""The leaderboard as one HTML file that needs nothing else: no network, no server, no build."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PAGE = Path(__file__).with_name("page.html")
_SLOT = "@@PAGE_DATA@@"
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def embed(value: Any) -> str:
    """Write JSON that can stand inside a script element whatever its strings say.

    NaN and infinities, which JSON lacks, raise ValueError.

    >>> print(embed({"reason": "</script>"}))
    {"reason":"\\u003c/script\\u003e"}
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)  # outside of strings, JSON has none of these characters


def render(page: Mapping[str, Any]) -> str:
    """Put the boards and cells of `page` into the page that draws them."""
    before, after = _PAGE.read_text(encoding="utf-8").split(_SLOT)
    return before + embed(dict(page)) + after
