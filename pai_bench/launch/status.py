"""What runs where, and what is done: read from results, leases and checkpoints, nothing written."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pai_bench.core.files import server_time
from pai_bench.experiment.cell import Cell
from pai_bench.store import checkpoint_files
from pai_bench.store.lease import Leases
from pai_bench.store.lease_entry import Entry
from pai_bench.store.store import Store


@dataclass(frozen=True)
class Running:
    """Cells that one process trains together, or began to."""

    suite: str
    host: str
    process: int
    cells: tuple[str, ...]
    """Ids; or the search that it runs."""
    seconds: float
    """Since it began."""
    last_beat: float
    """Seconds since its last sign of life."""
    last_checkpoint: float | None
    """Seconds since the last checkpoint; None where there is none."""
    has_died: bool
    """Whether it is known to have ended: the next run takes its cells over."""
    is_silent: bool
    """Whether nothing was heard of it for so long that others may take its cells over."""


@dataclass(frozen=True)
class SuiteStatus:
    """Numbers of cells of a suite."""

    suite: str
    done: int
    failed: int
    running: int
    waiting: int | None
    """Planned ones without result that nobody trains; None for a suite that the settings lack."""


def running(runs: Path) -> list[Running]:
    """List what is being trained in a folder of results, the oldest first."""
    held = [entry for entry in Leases(runs).entries().values() if not entry.holder.is_free]
    if not held:
        return []
    now, checkpoints = server_time(runs), checkpoint_files.last_written(runs)
    groups: dict[tuple[str, str, int, bool], list[Entry]] = {}
    for entry in held:
        holder = entry.holder
        is_search = entry.name.startswith("search-")
        key = holder.suite, holder.host, holder.process, is_search
        groups.setdefault(key, []).append(entry)
    found = [_running(entries, now, checkpoints) for entries in groups.values()]
    return sorted(found, key=lambda one: -one.seconds)


def _running(entries: Sequence[Entry], now: float, checkpoints: Mapping[str, float]) -> Running:
    first = entries[0]
    names = tuple(entry.name for entry in entries)
    written = [checkpoints[name] for name in names if name in checkpoints]
    silent = now - max(entry.beat for entry in entries) / 1e9
    return Running(
        suite=first.holder.suite,
        host=first.holder.host or "unknown",
        process=first.holder.process,
        cells=names,
        seconds=max(0.0, now - min(entry.holder.since for entry in entries)),
        last_beat=max(0.0, silent),
        last_checkpoint=max(0.0, now - max(written)) if written else None,
        has_died=first.holder.has_died,
        is_silent=silent > first.holder.patience,
    )


def suite_status(
    runs: Path, suite: str, planned: Sequence[Cell] | None, found: Sequence[Running]
) -> SuiteStatus:
    """Count the cells of a suite.

    Args:
        runs: Folder of results.
        suite: Name of the suite.
        planned: Its cells, where the settings have it.
        found: What is being trained.
    """
    entries = Store(runs, suite).entries()
    counts = Counter(entry.numbers.status for entry in entries)
    trained = {entry.cell.id for entry in entries if entry.numbers.status != "counted"}
    begun = {cell_id for one in found if one.suite == suite for cell_id in one.cells} - trained
    waiting = None
    if planned is not None:
        waiting = sum(cell.id not in trained and cell.id not in begun for cell in planned)
    done = counts["done"] + counts["skipped"]
    return SuiteStatus(suite, done, counts["failed"], len(begun), waiting)


def suites_of(runs: Path, found: Sequence[Running]) -> list[str]:
    """Names of the suites that have results, or cells that are being trained."""
    names = {one.suite for one in found}
    with contextlib.suppress(FileNotFoundError):
        names |= {path.name for path in runs.iterdir() if Store(runs, path.name).ids()}
    return sorted(names - {"searches", ""})
