"""Replays as files: `replay-<paper>-<program>-run-<run>-<replica>.json` in a folder of results.

They lie beside the folders of suites, for a replay is no cell: nothing of it was chosen here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.files import atomic_write
from pai_bench.store.integrity import DIGEST, record_digest, sealed
from pai_bench.store.result import Result
from pai_bench.store.store import without_folders
from pai_bench.store.stored_result import read_json


@dataclass(frozen=True, order=True)
class Replica:
    """One repetition of one run of the authors."""

    run: int
    """Theirs, from 1."""
    number: int
    """Ours, from 1."""


def write(folder: Path, paper: str, program: str, replica: Replica, result: Result) -> Path:
    """Write a replay and its digest; one that is there already is replaced.

    Returns:
        The file.
    """
    command = without_folders(result.environment.get("command", ""))
    result = replace(result, environment={**result.environment, "command": command})
    record = sealed({"result": result.to_json()})
    path = folder / f"{_stem(paper, program)}-run-{replica.run}-{replica.number}.json"
    with atomic_write(path) as beside:
        text = json.dumps(record, indent=1, allow_nan=False)
        beside.write_text(f"{text}\n", encoding="utf-8")
    return path


def read(folder: Path, paper: str, program: str) -> dict[Replica, Result]:
    """Read all replays of a program in a folder.

    Raises BenchError where one cannot be read, or was altered since it was written.
    """
    return {replica: read_replay(path) for replica, path in _files(folder, paper, program)}


def _files(folder: Path, paper: str, program: str) -> Iterator[tuple[Replica, Path]]:
    stem = _stem(paper, program)
    for path in sorted(folder.glob(f"{stem}-run-*.json")):
        if match := re.fullmatch(r"-run-(\d+)-(\d+)", path.stem.removeprefix(stem)):
            yield Replica(int(match[1]), int(match[2])), path


def _stem(paper: str, program: str) -> str:
    return f"replay-{paper}-{program}"


def read_replay(path: Path) -> Result:
    """Read one replay. Raises BenchError where it is none, or was altered since it was written."""
    record = read_json(str(path))
    try:
        if record[DIGEST] != record_digest(record):
            raise BenchError(f"{path}: altered since it was written; remove it to replay again")
        return Result.from_json(record["result"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchError(f"{path}: not a replay: {first_line(error)}") from error
