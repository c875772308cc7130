"""Text as it may be published: without folders of this machine and without keys."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
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
    if len(text) >= _SHORTEST:
        for value in secrets():
            text = text.replace(value, "…")
    if "/" not in text and "\\" not in text:
        return text
    return _PATH.sub(lambda found: re.split(r"[/\\]", found[0].rstrip("/\\"))[-1], text)


def redact_data(value: Any) -> Any:
    """Do the same to every text in nested records and lists."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {name: redact_data(found) for name, found in value.items()}
    return [redact_data(found) for found in value] if isinstance(value, (list, tuple)) else value


def secrets() -> list[str]:
    """Keys of services that the environment holds, as `WANDB_API_KEY` is one."""
    return [v for name, v in os.environ.items() if _SECRET.search(name) and len(v) >= _SHORTEST]
