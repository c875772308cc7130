"""Speed of this machine, measured on cells that have finished on it."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
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
Line = tuple[str, str]
"""Method and network."""


@dataclass(frozen=True)
class MeasuredSpeed:
    """Ratios of measured to assumed seconds on one device."""

    overall: float
    by_method: Mapping[str, float]
    """Searches included, which some methods train for before they prune."""
    by_line: Mapping[Line, float]
    """The same by method and network."""

    def __call__(self, cell: Cell) -> float:
        """Ratio of the cell's method on its network, where that has finished here; else of the
        method, else of all."""
        of_method = self.by_method.get(cell.method, self.overall)
        return self.by_line.get((cell.method, cell.network), of_method)

    def is_measured(self, cell: Cell) -> bool:
        """Whether the method of a cell has finished here, on its network."""
        return (cell.method, cell.network) in self.by_line


def measured_speed(
    folders: Iterable[Path], settings: Benchmark, gpu: bool = False
) -> MeasuredSpeed | None:
    """Estimate the ratio of measured to assumed seconds, on a device like that of this machine.

    Args:
        folders: Folders of results.
        settings: The benchmark.
        gpu: On its GPUs; else on its processor.

    Returns:
        The ratios; None if no cell has finished on such a device.
    """
    assumption = cost.GPU if gpu else cost.CORE
    devices = gpu_names() if gpu else [environment.processor()]
    measured, assumed = defaultdict[Line, float](float), defaultdict[Line, float](float)
    for folder, suite in product(folders, settings.suites):
        for entry in _sample(Store(folder, suite)):
            cell = entry.cell
            if _ran_on(entry, devices, gpu) and cell.network in settings.networks:
                line = cell.method, cell.network
                measured[line] += entry.result.seconds["total"]
                assumed[line] += cost.assumed_seconds(cell, settings, assumption)
    if not assumed:
        return None
    methods = {method for method, _ in assumed}
    return MeasuredSpeed(
        sum(measured.values()) / sum(assumed.values()),
        {name: _of(name, measured) / _of(name, assumed) for name in methods},
        {line: measured[line] / assumed[line] for line in assumed},
    )


def _of(method: str, seconds: Mapping[Line, float]) -> float:
    return sum(spent for (name, _), spent in seconds.items() if name == method)


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
