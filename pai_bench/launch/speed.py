"""How fast this machine is, by the cells that have finished on it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.core.errors import BenchError
from pai_bench.experiment import cost
from pai_bench.store.store import Store, StoredResult

SAMPLE = 60
"""Finished cells per suite that an estimate of this machine's speed looks at."""


def measured_speed(runs: Path, settings: Benchmark) -> float | None:
    """Ratio of measured to assumed seconds of cells that finished on a processor like this one."""
    measured = assumed = 0.0
    for suite in settings.suites:
        store = Store(runs, suite)
        for entry in _sample(store):
            if _ran_here(entry) and entry.cell.network in settings.networks:
                measured += entry.result.seconds["total"]
                assumed += cost.assumed_seconds(entry.cell, settings)
    return measured / assumed if assumed else None


def _sample(store: Store) -> list[StoredResult]:
    found = []
    for cell_id in sorted(store.ids())[:SAMPLE]:
        with contextlib.suppress(BenchError):
            found.append(store.get(cell_id))
    return found


def _ran_here(entry: StoredResult) -> bool:
    known = entry.result.environment
    here = environment.processor()
    is_cpu = known.get("device") == "cpu" and known.get("processor") == here
    return entry.result.status == "done" and is_cpu
