"""Speed of this machine, measured on cells that have finished on it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.core.errors import BenchError
from pai_bench.experiment import cost
from pai_bench.store.store import Store, StoredResult

SAMPLE = 60
"""Number of cells per suite that the speed is estimated from."""


def measured_speed(runs: Path, settings: Benchmark) -> float | None:
    """Estimate the ratio of measured to assumed seconds, on processors of this machine's model.

    Args:
        runs: Folder of results.
        settings: The benchmark.

    Returns:
        The ratio; None if no cell has finished on such a processor.
    """
    measured = assumed = 0.0
    for suite in settings.suites:
        store = Store(runs, suite)
        for entry in _sample(store):
            if _ran_here(entry) and entry.cell.network in settings.networks:
                measured += entry.result.seconds["total"]
                assumed += cost.assumed_seconds(entry.cell, settings)
    return measured / assumed if assumed else None


def _sample(store: Store) -> list[StoredResult]:
    entries = []
    for cell_id in sorted(store.ids())[:SAMPLE]:
        with contextlib.suppress(BenchError):
            entries.append(store.get(cell_id))
    return entries


def _ran_here(entry: StoredResult) -> bool:
    software = entry.result.environment
    same_cpu = software.get("device") == "cpu"
    same_cpu = same_cpu and software.get("processor") == environment.processor()
    return entry.result.status == "done" and same_cpu
