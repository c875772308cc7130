"""Lines of a page, remembered from one time to the next beside the results that they tell of.

A line is taken from memory only where the files of its cell are those that it was made from (by
inode, size and time of change), by the same program, with the same keys to blank. What is made
with the memory is what would be made without.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from pai_bench.claims import metric_registry
from pai_bench.claims.metric_registry import MetricContext
from pai_bench.core.redact import secrets
from pai_bench.experiment.cell import Cell
from pai_bench.leaderboard.page_cells import SHARED, Line, Lines
from pai_bench.store.store import StoredResult

MEMORY = ".page-lines.jsonl"
Known = tuple[Cell, StoredResult | None]


def lines(
    cells: Iterable[Known], suite: str, context: MetricContext
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Lines of a suite's cells, and what they share: kind -> digest -> record."""
    cells = list(cells)
    folder = next((entry.folder.parent for _, entry in cells if entry is not None), None)
    memory = _read(folder)
    maker, fingerprints = Lines(), {}
    maker.records.update(memory["records"])
    made: dict[str, Line] = {}
    for cell, entry in cells:
        fingerprint = f"{suite} {context.images} {entry.fingerprint}" if entry is not None else ""
        before = memory["lines"].get(cell.id)
        if fingerprint and before and before[0] == fingerprint:
            made[cell.id] = Line(*before[1:])
        else:
            made[cell.id] = maker.line(cell, entry, suite, context)
        fingerprints[cell.id] = fingerprint
    shared = _used(made.values(), maker.records)
    if folder is not None and (fingerprints != {k: v[0] for k, v in memory["lines"].items()}):
        _write(folder, fingerprints, made, shared)
    return shared, [line.text for line in made.values()]


def _used(made: Iterable[Line], records: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Only the records that some line names."""
    found: dict[str, dict[str, Any]] = {kind: {} for kind in SHARED}
    for line in made:
        for kind, digest in line.shared.items():
            found[kind][digest] = records[digest]
    return found


def _read(folder: Path | None) -> dict[str, Any]:
    """The memory of a folder; empty where there is none, or another program wrote it."""
    nothing: dict[str, Any] = {"lines": {}, "records": {}}
    if folder is None:
        return nothing
    try:
        with (folder / MEMORY).open("rb") as file:
            head = from_json(next(file, b"{}"))
            if head.get("by") != _program():
                return nothing
            return {"records": head["records"], "lines": dict(map(from_json, file))}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return nothing  # not whole, or no memory at all: lines are made anew


def _write(
    folder: Path,
    fingerprints: Mapping[str, str],
    made: Mapping[str, Line],
    shared: Mapping[str, Mapping[str, Any]],
) -> None:
    records = {digest: found for kind in shared.values() for digest, found in kind.items()}
    beside = folder / f"{MEMORY}.{os.getpid()}"
    with beside.open("wb") as file:
        file.write(json.dumps({"by": _program(), "records": records}).encode() + b"\n")
        for key, line in made.items():
            file.write(to_json([key, [fingerprints[key], line.text, line.shared]]) + b"\n")
    beside.replace(folder / MEMORY)


def _program() -> str:
    """Digest of the sources that make a line, and of the keys that are blanked in it."""
    package = Path(__file__).parents[1]
    sources = [*package.glob("*.py"), *package.glob("leaderboard/*.py"), *package.glob("data/*.py")]
    sources += metric_registry.sources()
    found = hashlib.sha256()
    for part in (*(path.read_bytes() for path in sorted(sources)), *map(str.encode, secrets())):
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()
