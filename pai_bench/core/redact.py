"""Text as it may be published: without folders of this machine and without keys."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

_PATH = re.compile(r"(?<![\w.:/~])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\'\":,;=()<>]+){2,}[/\\]?")
_SECRET = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD)$")
_SHORTEST = 8
"""Characters of a key: a shorter value would blank ordinary words."""


def redact_text(text: str) -> str:
    """Leave the name of a file or folder, not where it lies; blank the keys of the environment.

    >>> redact_text("no file '/home/me/runs/a.json' (from https://a.org/b/c)")
    "no file 'a.json' (from https://a.org/b/c)"
    """
    return _redacted(text, secrets() if len(text) >= _SHORTEST else ())


def redact_data(value: Any) -> Any:
    """Do the same to every text in nested records and lists."""
    keys = secrets()

    def redact(value: Any) -> Any:
        if isinstance(value, str):
            return _redacted(value, keys)
        if isinstance(value, Mapping):
            return {name: redact(item) for name, item in value.items()}
        return [redact(item) for item in value] if isinstance(value, (list, tuple)) else value

    return redact(value)


def _redacted(text: str, keys: Iterable[str]) -> str:
    for key in keys:
        text = text.replace(key, "…")
    if "/" not in text and "\\" not in text:
        return text
    return _PATH.sub(lambda match: re.split(r"[/\\]", match[0].rstrip("/\\"))[-1], text)


def secrets() -> list[str]:
    """Keys of services that the environment holds, as `WANDB_API_KEY` is one."""
    return [v for name, v in os.environ.items() if _SECRET.search(name) and len(v) >= _SHORTEST]
