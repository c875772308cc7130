"""Lines of a page from the index of the results, and for what is not there, made anew.

A line is taken from the index only where it was made from what is stored today, for a page of the
same suite, by the same program and metrics, with the same keys to blank. What is made with the
index is what would be made without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pai_bench.claims import metric_registry
from pai_bench.claims.metric_registry import MetricContext
from pai_bench.core.project import ROOT
from pai_bench.core.redact import secrets
from pai_bench.experiment.cell import Cell
from pai_bench.leaderboard.page_cells import SHARED, Lines
from pai_bench.store.index import Index, Line, opened_index
from pai_bench.store.store import StoredResult

Stored = tuple[Cell, StoredResult | None]


def lines(
    cells: Iterable[Stored], suite: str, context: MetricContext
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Lines of a suite's cells, and what they share: kind -> digest -> record."""
    cells = list(cells)
    index = _index(cells)
    ready = index.lines_for(_reader(suite, context))
    maker, by_id = Lines(index.records), {}
    for cell, entry in cells:
        line = ready.get(cell.id)
        if line is None or index.entries.get(cell.id) is not entry:
            line = maker.line(cell, entry, suite, context)
            if index.entries.get(cell.id) is entry is not None:
                index.keep_line(cell.id, line)
        by_id[cell.id] = line
    index.save()
    return _used(by_id.values(), index.records), [line.text for line in by_id.values()]


def _index(cells: Iterable[Stored]) -> Index:
    """The index that the cells were read with; an empty one where they were not."""
    path = next((entry.path for _, entry in cells if entry is not None), "")
    folder = str(Path(path).parent)
    return opened_index(folder) or Index(folder)


def _used(lines_shown: Iterable[Line], records: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Only the records that some line names."""
    used: dict[str, dict[str, Any]] = {kind: {} for kind in SHARED}
    shared = {id(line.shared): line.shared for line in lines_shown}
    for kind, digest in (pair for named in shared.values() for pair in named.items()):
        used[kind][digest] = records[digest]
    return used


def _reader(suite: str, context: MetricContext) -> str:
    """Digest of all that a line depends on beside the stored cell and the program."""
    files = {metric.origin.rpartition(":")[0] for metric in metric_registry.available().values()}
    metrics = [(name, (ROOT / name).read_bytes()) for name in sorted(files)]
    depends = repr((suite, context, metrics, secrets()))
    return hashlib.sha256(depends.encode("utf-8", "backslashreplace")).hexdigest()
