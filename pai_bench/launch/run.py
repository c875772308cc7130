"""Run the cells of a request that have no result yet, with a progress display."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from pai_bench.config.schema import Benchmark
from pai_bench.core import kernels
from pai_bench.core.hardware import available_cores, gpus_of
from pai_bench.data.locations import cached_file
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import assumed_seconds
from pai_bench.launch.bundling import Stack, bundle_size, bundled, is_stacked
from pai_bench.launch.display import ProgressDisplay
from pai_bench.launch.events import Event, Finished
from pai_bench.launch.launcher import LOCAL, ClusterLauncher, Launcher, load_launcher
from pai_bench.launch.pending import PendingCells
from pai_bench.launch.progress_writer import RunWriter
from pai_bench.launch.request import RunRequest
from pai_bench.registry import methods as registry
from pai_bench.store import checkpoint_files, progress_files
from pai_bench.store.lease import Leases
from pai_bench.store.lease_entry import LOOKS
from pai_bench.store.lease_watch import LONGEST, SHORTEST
from pai_bench.store.result import FINISHED
from pai_bench.store.store import Store


def _ignore(_event: Event) -> None:
    pass


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
    by_others: int = 0
    """Cells that other processes trained meanwhile."""


def run(
    request: RunRequest,
    jobs: int,
    console: Console,
    retry_failed: bool = False,
    launcher: str = LOCAL,
    stack: Stack = "auto",
    on_event: Callable[[Event], None] = _ignore,
) -> Tally:
    """Run the cells of `request` that have no result yet.

    Any number of processes may do so at once: no two train the same cell. A cell is the same
    experiment in every suite: results that another suite has are copied. KeyboardInterrupt is
    raised; results that are stored stay.

    Args:
        request: The cells, with settings, folder of results and hardware.
        jobs: Number of bundles that run in parallel.
        console: Where progress is shown.
        retry_failed: Run cells whose stored result is a failure again.
        launcher: Name of the launcher.
        stack: How networks are trained together (see `bundling.is_stacked`).
        on_event: Called with each event, after it is shown; must neither wait nor raise.

    Raises:
        BenchError: The data set cannot be loaded, the launcher is unknown, or the hardware is not
            available.
    """
    way = load_launcher(launcher)
    if isinstance(way, ClusterLauncher):
        hardware = way.hardware(request.settings, request.hardware)
        request = replace(request, hardware=hardware)
    chosen = kernels.choose(request.settings.portable, request.settings.threads)
    request = replace(request, environment={**request.environment, **chosen})
    started = time.monotonic()
    store = Store(request.runs, request.suite)
    store.clean_old()
    statuses = _statuses(request, store)
    to_run = (None, "failed") if retry_failed else (None,)
    missing = [cell for cell in request.cells if statuses[cell.id] in to_run]
    pending = PendingCells(request, missing)
    copied, todo = pending.copied(), len(pending)
    done = Counter[bool]()
    if todo:
        _prepare_data(pending.cells[0], request.settings, console)
        passes = _Passes(request, pending, jobs, way, stack)
        writer = RunWriter(request.runs, request.suite, request.settings.take_over / LOOKS)
        with (
            ProgressDisplay(console, pending.cells, passes.cost) as display,
            writer.writing(),
            _detachable(way),
        ):

            def update(event: Event) -> None:
                display.update(event)
                writer.update(display)
                on_event(event)

            done.update(passes.run(display, update))
    failed = sum(status == "failed" for status in _statuses(request, store).values())
    stored, left = len(request.cells) - todo, todo - done.total()
    seconds = time.monotonic() - started
    return Tally(done[False], stored, copied, failed, seconds, left, done[True])


@contextlib.contextmanager
def _detachable(way: Launcher) -> Iterator[None]:
    """Let an interrupt say what goes on elsewhere without this process."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if isinstance(way, ClusterLauncher):
            raise KeyboardInterrupt(way.detached()) from interrupt
        raise


def _statuses(request: RunRequest, store: Store) -> dict[str, str | None]:
    """Statuses of the cells, by id; what the dead left of those that are finished is removed."""
    statuses = store.statuses(request.cells)
    finished = {cell_id for cell_id, status in statuses.items() if status in FINISHED}
    Leases(request.runs).forget(finished)
    checkpoint_files.forget(request.runs, finished)
    progress_files.forget(request.runs, request.settings.take_over)
    return statuses


class _Passes:
    """Launches the pending cells that nobody trains, as often as there are some."""

    def __init__(
        self, request: RunRequest, pending: PendingCells, jobs: int, way: Launcher, stack: Stack
    ) -> None:
        self._request, self._pending, self._jobs = request, pending, jobs
        self._launcher = way
        self._stacked = is_stacked(stack, request.hardware)
        self._size = bundle_size(
            pending.cells[0], stack, request.hardware, request.settings, self._budget()
        )
        methods = registry.available(request.plugins)
        self._searching = {name for name, info in methods.items() if info.trains_to_score}

    def _budget(self) -> float:
        return self._request.deadline - time.time()

    def cost(self, cell: Cell) -> float:
        return assumed_seconds(cell, self._request.settings)

    def run(self, display: ProgressDisplay, update: Callable[[Event], None]) -> Iterator[bool]:
        """Run until no cell is pending, or the time is spent; wait for what others train.

        Args:
            display: Where it is shown what is waited for.
            update: Called with each event.

        Yields:
            For each cell that has a result then, whether another process trained it.
        """
        pause = SHORTEST
        while len(self._pending) and self._budget() > 0:
            yield from _passed(self._pending.found(), update)
            if free := self._pending.free():
                yield from _passed(self._launched(free), update)
                pause = SHORTEST
            elif len(self._pending):
                display.wait(self._pending.waiting)
                time.sleep(pause)
                pause = min(LONGEST, 2 * pause)

    def _launched(self, free: Sequence[Cell]) -> Iterator[Event]:
        request = self._request
        work = bundled(
            free, self._size, request.hardware, request.settings, self._jobs, self._budget(),
            self._searching, checkpoint_files.begun(request.runs, {c.id: c for c in free}),
        )  # fmt: skip
        launched = replace(
            request, bundles=work, stacked=self._stacked, dead=self._pending.dead,
            failed=self._pending.failed,
        )  # fmt: skip
        with contextlib.closing(self._launcher.launch(launched, self._jobs)) as events:
            yield from self._pending.passed(free, events)


def _passed(events: Iterator[Event], update: Callable[[Event], None]) -> Iterator[bool]:
    for event in events:
        update(event)
        if isinstance(event, Finished):
            yield event.by_others


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


def number_of_jobs(request: RunRequest, asked: int = 0, launcher: str = LOCAL) -> int:
    """Number of workers: what was asked for; else one per core, or one on other accelerators.

    On GPUs at most one each: processes that share one take turns, and gain nothing. A cluster has
    its own number.
    """
    if launcher != LOCAL:
        way = load_launcher(launcher)
        if isinstance(way, ClusterLauncher):
            return way.number_of_jobs(request.settings, asked)
    if request.hardware.nodes > 1 or (request.hardware.is_distributed and not asked):
        return 1
    if gpus := gpus_of(request.hardware):
        return min(asked or len(gpus), len(gpus))
    if asked:
        return asked
    if request.hardware.accelerator not in ("auto", "cpu"):
        return 1
    return max(1, available_cores() // request.settings.threads)
