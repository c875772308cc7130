"""Results that are one file each, beside the folders of suites: replays and spectra."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.files import atomic_write
from pai_bench.store.integrity import DIGEST, record_digest, sealed
from pai_bench.store.result import Result
from pai_bench.store.store import without_folders
from pai_bench.store.stored_result import read_json


def write(path: Path, result: Result, more: Mapping[str, Any], indent: int | None = None) -> None:
    """Write a result, what stands beside it and their digest; what is there is replaced."""
    command = without_folders(result.environment.get("command", ""))
    result = replace(result, environment={**result.environment, "command": command})
    record = sealed({**more, "result": result.to_json()})
    with atomic_write(path) as beside:
        text = json.dumps(record, indent=indent, allow_nan=False)
        beside.write_text(f"{text}\n", encoding="utf-8")


def read(path: Path, what: str, again: str) -> tuple[Result, Mapping[str, Any]]:
    """Read a result, and the whole record.

    Args:
        path: The file.
        what: What it should hold, as "a replay".
        again: What it is removed for where it is damaged, as "replay again".

    Raises:
        BenchError: It holds something else, or was altered since it was written.
    """
    record = read_json(str(path), f"remove this file to {again}")
    try:
        if record[DIGEST] != record_digest(record):
            raise BenchError(f"{path}: altered since it was written; remove it to {again}")
        return Result.from_json(record["result"]), record
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchError(f"{path}: not {what}: {first_line(error)}") from error
