"""Cells on this machine: N worker processes, each given one cell after another.

A worker writes its results itself. One that dies (killed for its memory, say) is replaced, and
its cell is stored as failed. When this process goes away, however it does, the workers go too; at
most the cells in hand are lost.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Thread
from typing import Any

from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import share
from pai_bench.experiment.cell import Cell
from pai_bench.launch.events import Epoch, Event, Finished, Rejected, Scoring, Started
from pai_bench.launch.request import RunRequest
from pai_bench.store.result import Result
from pai_bench.store.store import Store

_processes = multiprocessing.get_context("spawn")


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    cell: Cell | None = None


def launch(request: RunRequest, jobs: int) -> Generator[Event]:
    """Run all cells of `request` with `jobs` workers, and tell what happens as it happens.

    Closing the iterator, or an interrupt in its consumer, ends the workers; stored cells stay.
    Raises BenchError when the hardware that was asked for is not to be had.
    """
    waiting = deque(request.cells)
    workers = [_start(request, index) for index in range(min(max(1, jobs), len(waiting)))]
    try:
        while waiting or any(worker.cell for worker in workers):
            for index, worker in enumerate(workers):
                if worker.cell is None and waiting:
                    if not worker.process.is_alive():
                        workers[index] = worker = _start(request, index)
                    worker.cell = waiting.popleft()
                    worker.pipe.send(worker.cell)
                    yield Started(worker.cell)
            ready = wait([worker.pipe for worker in workers if worker.cell])
            for worker in workers:
                if worker.pipe in ready:
                    yield _receive(worker, request)
    finally:
        _stop(workers)


def _receive(worker: _Worker, request: RunRequest) -> Event:
    """Take the next event of a worker; one that died has failed its cell."""
    cell = worker.cell
    assert cell is not None
    try:
        event: Event = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        reason = _cause_of_death(worker.process.exitcode)
        Store(request.runs, request.suite).put(cell, Result("failed", reason))
        event = Finished(cell, "failed", reason)
    if isinstance(event, Rejected):
        raise BenchError(event.reason)
    if isinstance(event, Finished):
        worker.cell = None
    return event


def _cause_of_death(code: int | None) -> str:
    """Say why a worker went, from its exit code.

    >>> _cause_of_death(-9)
    'the worker was killed by signal 9 (SIGKILL): out of memory?'
    """
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ": out of memory?" if name == "SIGKILL" else ""
        return f"the worker was killed by signal {-code} ({name}){hint}"
    return f"the worker ended with exit code {code} before the cell did"


def _start(request: RunRequest, index: int) -> _Worker:
    ours, theirs = _processes.Pipe()
    mine = replace(request, cells=(), hardware=share(request.hardware, index))
    process = _processes.Process(target=_work, args=(theirs, mine, index), name=f"worker-{index}")
    # A worker inherits that Ctrl-C is ignored: this process decides what an interrupt means.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, handler)
    theirs.close()
    return _Worker(process, ours)


def _stop(workers: list[_Worker]) -> None:
    """End the workers. One with a cell in hand is killed: what it has not stored is not there.

    (Asked to terminate, it would end its cell as if that had failed.)
    """
    for worker in workers:
        worker.pipe.close()
        if worker.cell is not None:
            worker.process.kill()
    for worker in workers:
        worker.process.join(10)
        if worker.process.is_alive():
            worker.process.kill()


def _work(pipe: Connection, request: RunRequest, index: int) -> None:
    """Life of a worker: take a cell, fit it, store it, say so; end when the pipe closes."""
    _write_output_to(request.runs / request.suite / f".worker-{index}.log")
    Thread(target=_go_with_parent, daemon=True).start()
    from pai_bench.training import checkpoint
    from pai_bench.training.fit import fit

    store = Store(request.runs, request.suite)

    def tell(event: Event) -> None:
        try:
            pipe.send(event)
        except OSError:
            os._exit(1)  # Nobody listens any more: the cell in hand must not end as a failure.

    while True:
        try:
            cell: Cell = pipe.recv()
        except (EOFError, OSError):
            return None
        on_epoch = partial(_tell_epoch, tell, cell)
        on_scoring = partial(_tell_scoring, tell, cell)
        try:
            outcome = fit(
                cell,
                request.settings,
                request.hardware,
                request.plugins,
                on_epoch,
                request.runs,
                on_scoring,
            )
        except BenchError as error:
            return tell(Rejected(cell, str(error)))
        store.put(cell, outcome.result, outcome.curves, outcome.masks)
        checkpoint.drop(request.runs, cell)
        tell(Finished(cell, outcome.result.status, outcome.result.reason))


def _go_with_parent() -> None:
    """End this process when the one that started it is gone: an epoch can last for hours."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _tell_epoch(tell: Callable[[Event], None], cell: Cell, epoch: int, epochs: int) -> None:
    tell(Epoch(cell, epoch, epochs))


def _tell_scoring(tell: Callable[[Event], None], cell: Cell, reached: str) -> None:
    tell(Scoring(cell, reached))


def _write_output_to(path: Path) -> None:
    """Send what this process prints to a file: the terminal belongs to the progress display."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
