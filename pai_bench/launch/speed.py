"""Speed of this machine, measured on cells that have finished on it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import gpu_names
from pai_bench.experiment import cost
from pai_bench.experiment.cell import Cell
from pai_bench.store.store import Store, StoredResult

SAMPLE = 60
"""Number of cells per suite that the speed is estimated from."""


@dataclass(frozen=True)
class MeasuredSpeed:
    """Ratios of measured to assumed seconds on one device."""

    overall: float
    by_method: Mapping[str, float]
    """Searches included, which some methods train for before they prune."""

    def __call__(self, cell: Cell) -> float:
        """Ratio of the cell's method, where it has finished here; else of all."""
        return self.by_method.get(cell.method, self.overall)


def measured_speed(runs: Path, settings: Benchmark, gpu: bool = False) -> MeasuredSpeed | None:
    """Estimate the ratio of measured to assumed seconds, on a device like that of this machine.

    Args:
        runs: Folder of results.
        settings: The benchmark.
        gpu: On its GPUs; else on its processor.

    Returns:
        The ratios; None if no cell has finished on such a device.
    """
    assumption = cost.GPU if gpu else cost.CORE
    devices = gpu_names() if gpu else [environment.processor()]
    measured: dict[str, float] = {}
    assumed: dict[str, float] = {}
    for suite in settings.suites:
        for entry in _sample(Store(runs, suite)):
            cell = entry.cell
            if _ran_on(entry, devices, gpu) and cell.network in settings.networks:
                seconds = entry.result.seconds["total"]
                measured[cell.method] = measured.get(cell.method, 0.0) + seconds
                expected = cost.assumed_seconds(cell, settings, assumption)
                assumed[cell.method] = assumed.get(cell.method, 0.0) + expected
    if not assumed:
        return None
    by_method = {name: measured[name] / assumed[name] for name in assumed}
    return MeasuredSpeed(sum(measured.values()) / sum(assumed.values()), by_method)


def _sample(store: Store) -> list[StoredResult]:
    entries = []
    for cell_id in sorted(store.ids())[:SAMPLE]:
        with contextlib.suppress(BenchError):
            entries.append(store.get(cell_id))
    return entries


def _ran_on(entry: StoredResult, devices: list[str], gpu: bool) -> bool:
    software = entry.result.environment
    device = software.get("device")
    same = device in devices if gpu else device == "cpu" and software.get("processor") in devices
    return entry.result.status == "done" and same
