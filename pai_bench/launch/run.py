"""Run the cells of a request that have no result yet, with a progress display."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

from rich.console import Console

from pai_bench.config.schema import Benchmark
from pai_bench.core import portable
from pai_bench.core.hardware import available_cores, gpus_of
from pai_bench.data.locations import cached_file
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import assumed_seconds
from pai_bench.launch.bundling import Stack, bundled, is_stacked
from pai_bench.launch.display import ProgressDisplay
from pai_bench.launch.launcher import LOCAL, ClusterLauncher, Launcher, load_launcher
from pai_bench.launch.request import RunRequest
from pai_bench.registry import methods as registry
from pai_bench.store.store import Store


@dataclass(frozen=True)
class Tally:
    """Numbers of cells of a run, by where their results come from."""

    ran: int
    stored: int
    """Cells that had a result before the run."""
    copied: int
    """Of the stored ones, cells whose result was copied from another suite."""
    failed: int
    """Cells whose result is a failure, of this run or stored."""
    seconds: float
    """Wall-clock seconds of the run."""
    left: int = 0
    """Cells that the time budget did not allow for."""


def run(
    request: RunRequest,
    jobs: int,
    console: Console,
    retry_failed: bool = False,
    launcher: str = LOCAL,
    stack: Stack = "auto",
) -> Tally:
    """Run the cells of `request` that have no result yet.

    A cell is the same experiment in every suite: results that another suite has are copied.
    KeyboardInterrupt is raised; results that are stored stay.

    Args:
        request: The cells, with settings, folder of results and hardware.
        jobs: Number of bundles that run in parallel.
        console: Where progress is shown.
        retry_failed: Run cells whose stored result is a failure again.
        launcher: Name of the launcher.
        stack: How networks are trained together (see `bundling.is_stacked`).

    Raises:
        BenchError: The data set cannot be loaded, the launcher is unknown, or the hardware is not
            available.
    """
    way = load_launcher(launcher)
    if isinstance(way, ClusterLauncher):
        hardware = way.hardware(request.settings, request.hardware)
        request = replace(request, hardware=hardware)
    if request.settings.portable:
        chosen = portable.choose(request.settings.threads)
        request = replace(request, environment={**request.environment, **chosen})
    store = Store(request.runs, request.suite)
    store.clean_stale()
    states = {cell.id: store.status(cell) for cell in request.cells}
    to_run = (None, "failed") if retry_failed else (None,)
    missing = [cell for cell in request.cells if states[cell.id] in to_run]
    started = time.monotonic()
    todo = tuple(cell for cell in missing if not store.copy_from(cell))
    if todo:
        _prepare_data(todo[0], request.settings, console)
        budget = request.deadline - time.time()
        methods = registry.available(request.plugins)
        searching = {name for name, info in methods.items() if info.trains_to_score}
        work = bundled(todo, stack, request.hardware, request.settings, jobs, budget, searching)
        stacked = is_stacked(stack, request.hardware)
        _launch(replace(request, bundles=work, stacked=stacked), jobs, console, way)
    failed = sum(store.status(cell) == "failed" for cell in request.cells)
    stored, copied = len(request.cells) - len(todo), len(missing) - len(todo)
    left = sum(store.status(cell) is None for cell in todo)
    return Tally(len(todo) - left, stored, copied, failed, time.monotonic() - started, left)


def _prepare_data(cell: Cell, settings: Benchmark, console: Console) -> None:
    """Load the data set before the first cell, so that an error ends the run here."""
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


def _launch(request: RunRequest, jobs: int, console: Console, way: Launcher) -> None:
    def cost(cell: Cell) -> float:
        return assumed_seconds(cell, request.settings)

    events = way.launch(request, jobs)
    try:
        with ProgressDisplay(console, request.cells, cost) as display, contextlib.closing(events):
            for event in events:
                display.update(event)
    except KeyboardInterrupt as interrupt:
        if isinstance(way, ClusterLauncher):
            raise KeyboardInterrupt(way.detached()) from interrupt
        raise


def number_of_jobs(request: RunRequest, asked: int = 0, launcher: str = LOCAL) -> int:
    """Number of workers: what was asked for; else one per core, or one on other accelerators.

    On GPUs at most one each: processes that share one take turns, and gain nothing. A cluster has
    its own number.
    """
    if launcher != LOCAL:
        way = load_launcher(launcher)
        if isinstance(way, ClusterLauncher):
            return way.number_of_jobs(request.settings, asked)
    if gpus := gpus_of(request.hardware):
        return min(asked or len(gpus), len(gpus))
    if asked:
        return asked
    if request.hardware.accelerator not in ("auto", "cpu"):
        return 1
    return max(1, available_cores() // request.settings.threads)
