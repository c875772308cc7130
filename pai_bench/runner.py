"""Run what is missing of a list of cells, with progress, and say how it went."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from pai_bench import environment, grid
from pai_bench.cell import Cell
from pai_bench.config import Benchmark
from pai_bench.data.locations import cached_file
from pai_bench.errors import BenchError
from pai_bench.hardware import available_cores, gpus_of
from pai_bench.launch import Order, local
from pai_bench.methods.declaration import MethodInfo
from pai_bench.progress import Progress
from pai_bench.store import Entry, Store

Kind = tuple[Hashable, ...]
SAMPLE = 60
"""Finished cells per suite that an estimate of this machine's speed looks at."""


@dataclass(frozen=True)
class Tally:
    """How many of the asked cells ran now, were there before, and have failed."""

    ran: int
    found: int
    taken: int
    """Of those found, how many lay in another suite."""
    failed: int
    seconds: float


def run(order: Order, jobs: int, console: Console, retry_failed: bool = False) -> Tally:
    """Run the cells of `order` that have no result yet (or failed, with `retry_failed`).

    A cell is the same experiment in every suite: one that another suite has finished is copied.
    An interrupt passes through; what is stored stays.
    """
    store = Store(order.runs, order.suite)
    store.sweep()
    states = {cell.id: store.status(cell) for cell in order.cells}
    again = (None, "failed") if retry_failed else (None,)
    missing = [cell for cell in order.cells if states[cell.id] in again]
    started = time.monotonic()
    todo = tuple(cell for cell in missing if not store.take(cell))
    if todo:
        _prepare_data(todo[0], order.settings, console)
        _run(replace(order, cells=todo), jobs, console)
    failed = sum(store.status(cell) == "failed" for cell in order.cells)
    found, taken = len(order.cells) - len(todo), len(missing) - len(todo)
    return Tally(len(todo), found, taken, failed, time.monotonic() - started)


def _prepare_data(cell: Cell, settings: Benchmark, console: Console) -> None:
    """Read the data set before the first cell, so that data that cannot be had stop here."""
    data = settings.data[cell.data]
    built_in = data.hub is None and data.load is None
    if built_in or cached_file(cell.data, data).is_file():
        return
    if data.stream:
        from pai_bench.data import files

        console.print(f"data {cell.data}: checking the files", highlight=False)
        files.find(cell.data, data, settings.mirror)
        return
    from pai_bench.data import sources

    console.print(f"data {cell.data}: reading and decoding, once", highlight=False)
    sources.load(cell.data, data, settings.mirror)


def _run(order: Order, jobs: int, console: Console) -> None:
    def cost(cell: Cell) -> float:
        return grid.assumed_seconds(cell, order.settings)

    events = local.launch(order, jobs)
    with Progress(console, order.cells, cost) as progress, contextlib.closing(events):
        for event in events:
            progress.see(event)


def default_jobs(order: Order) -> int:
    """One worker per GPU in use, else per core; one for any other accelerator."""
    if gpus := gpus_of(order.hardware):
        return len(gpus)
    if order.hardware.accelerator not in ("auto", "cpu"):
        return 1
    return max(1, available_cores() // order.settings.threads)


@dataclass(frozen=True)
class Stored:
    """The cells that stand on one board, and what is stored of them."""

    cells: Sequence[Cell]
    """The planned ones, then others that are comparable."""
    entries: Mapping[str, Entry]
    """By id, in the order of ids: of each of `cells` that is stored."""
    stale: int
    """Number of stored cells that are not comparable."""


def stored_cells(
    store: Store, planned: Sequence[Cell], methods: Mapping[str, MethodInfo]
) -> Stored:
    """Read `planned` and all comparable stored cells.

    A stored cell is comparable when it differs from a planned one in method, hyper-parameters,
    density, seed and ablation only, and its method has the version of today: plugins, other
    densities. Raises BenchError for a planned one that cannot be read.
    """
    ids, kinds = {cell.id for cell in planned}, {_kind(cell) for cell in planned}
    found = sorted(store.ids())
    read = {i: store.get(i) if i in ids else _comparable(store, i, kinds, methods) for i in found}
    entries = {cell_id: entry for cell_id, entry in read.items() if entry is not None}
    others = [entry.cell for cell_id, entry in entries.items() if cell_id not in ids]
    return Stored([*planned, *others], entries, len(read) - len(entries))


def _comparable(
    store: Store, cell_id: str, kinds: set[Kind], methods: Mapping[str, MethodInfo]
) -> Entry | None:
    """Read a stored cell if it can stand beside cells of these kinds."""
    try:
        entry = store.get(cell_id)
    except BenchError:
        return None
    cell, info = entry.cell, methods.get(entry.cell.method)
    current = info is None or info.version == cell.method_version
    return entry if cell.id == cell_id and current and _kind(cell) in kinds else None


def _kind(cell: Cell) -> Kind:
    """What two cells must share to stand on one board."""
    data = cell.data, cell.digest, cell.mean, cell.std
    return cell.network, cell.network_version, *data, cell.recipe, cell.precision


def measured_speed(runs: Path, settings: Benchmark) -> float | None:
    """Ratio of measured to assumed seconds of cells that finished on a processor like this one."""
    measured = assumed = 0.0
    for suite in settings.suites:
        store = Store(runs, suite)
        for entry in _sample(store):
            if _ran_here(entry) and entry.cell.network in settings.networks:
                measured += entry.result.seconds["total"]
                assumed += grid.assumed_seconds(entry.cell, settings)
    return measured / assumed if assumed else None


def _sample(store: Store) -> list[Entry]:
    found = []
    for cell_id in sorted(store.ids())[:SAMPLE]:
        with contextlib.suppress(BenchError):
            found.append(store.get(cell_id))
    return found


def _ran_here(entry: Entry) -> bool:
    known = entry.result.environment
    here = environment.processor()
    is_cpu = known.get("device") == "cpu" and known.get("processor") == here
    return entry.result.status == "done" and is_cpu
