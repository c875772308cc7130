"""Run what is missing of a list of cells, with progress, and say how it went."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

from rich.console import Console

from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import available_cores, gpus_of
from pai_bench.data.locations import cached_file
from pai_bench.experiment.bundle import bundles
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import assumed_seconds
from pai_bench.launch.display import ProgressDisplay
from pai_bench.launch.launcher import LOCAL, load_launcher
from pai_bench.launch.request import RunRequest
from pai_bench.store.store import Store


@dataclass(frozen=True)
class Tally:
    """How many of the asked cells ran now, were there before, and have failed."""

    ran: int
    found: int
    taken: int
    """Of those found, how many lay in another suite."""
    failed: int
    seconds: float


def run(
    request: RunRequest,
    jobs: int,
    console: Console,
    retry_failed: bool = False,
    launcher: str = LOCAL,
) -> Tally:
    """Run the cells of `request` that have no result yet (or failed, with `retry_failed`).

    A cell is the same experiment in every suite: one that another suite has finished is copied.
    An interrupt passes through; what is stored stays.
    """
    store = Store(request.runs, request.suite)
    store.clean_stale()
    states = {cell.id: store.status(cell) for cell in request.cells}
    again = (None, "failed") if retry_failed else (None,)
    missing = [cell for cell in request.cells if states[cell.id] in again]
    started = time.monotonic()
    todo = tuple(cell for cell in missing if not store.copy_from(cell))
    if todo:
        _prepare_data(todo[0], request.settings, console)
        _launch(replace(request, bundles=tuple(bundles(todo))), jobs, console, launcher)
    failed = sum(store.status(cell) == "failed" for cell in request.cells)
    found, taken = len(request.cells) - len(todo), len(missing) - len(todo)
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


def _launch(request: RunRequest, jobs: int, console: Console, launcher: str) -> None:
    def cost(cell: Cell) -> float:
        return assumed_seconds(cell, request.settings)

    events = load_launcher(launcher).launch(request, jobs)
    with ProgressDisplay(console, request.cells, cost) as display, contextlib.closing(events):
        for event in events:
            display.update(event)


def default_jobs(request: RunRequest) -> int:
    """One worker per GPU in use, else per core; one for any other accelerator."""
    if gpus := gpus_of(request.hardware):
        return len(gpus)
    if request.hardware.accelerator not in ("auto", "cpu"):
        return 1
    return max(1, available_cores() // request.settings.threads)
