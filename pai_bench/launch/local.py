"""The launcher of this machine: N worker processes, each running one bundle after another.

Workers write their results themselves. One that dies is replaced, and what it trained together is
trained again cell by cell; a cell during which it dies alone is stored as failed. Where the machine
is at fault (a full disk, a worker that the system kills for want of memory) nothing is stored, and
the run stops. When this process ends, in whatever way, the workers end too; at most the running
bundles are lost.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pai_bench.core import environment, processes
from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import share
from pai_bench.core.machine import MachineFault, fault_of_writing
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch import cell_leases
from pai_bench.launch.events import Event, Finished, PutOff, Rejected, Started, Stopped
from pai_bench.launch.request import RunRequest
from pai_bench.store.lease import Leases, held
from pai_bench.store.result import Result

GRACE = 5.0
"""Seconds after the deadline in which a training may evaluate, and write its checkpoint."""


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    bundle: Bundle | None = None
    """The bundle that it runs."""
    unfinished: int = 0
    """Number of its cells that are not stored yet."""
    log: Path = Path(os.devnull)
    """Where its output goes."""


class Local:
    """Runs bundles in worker processes; on a machine with GPUs each uses one of them.

    Args:
        logs: Folder that their output goes to; that of the suite's results unless given.
    """

    def __init__(self, logs: Path | None = None) -> None:
        self._logs = logs

    def launch(self, request: RunRequest, jobs: int) -> Generator[Event]:
        """Run all bundles of `request` in `jobs` workers (see `launcher.Launcher`)."""
        waiting = deque(request.bundles)
        logs = self._logs or request.runs / request.suite
        workers = [_start(request, index, logs) for index in range(min(max(1, jobs), len(waiting)))]
        try:
            while waiting or any(worker.bundle for worker in workers):
                if time.time() >= request.deadline:
                    waiting.clear()
                for index, worker in enumerate(workers):
                    if worker.bundle is None and waiting:
                        if not worker.process.is_alive():
                            workers[index] = worker = _start(request, index, logs)
                        worker.bundle = waiting.popleft()
                        worker.unfinished = len(worker.bundle)
                        worker.pipe.send(worker.bundle)
                        yield Started(worker.bundle)
                pipes = [worker.pipe for worker in workers if worker.bundle]
                ready = wait(pipes, _patience(request)) if pipes else []
                if not ready:
                    return  # What is still choosing masks cannot write a checkpoint.
                for worker in workers:
                    if worker.pipe in ready:
                        yield from _receive(worker, request, waiting)
        finally:
            _stop(workers)


def _receive(worker: _Worker, request: RunRequest, waiting: deque[Bundle]) -> Iterator[Event]:
    """Receive the next event of a worker; if it died, say what becomes of its bundle."""
    bundle = worker.bundle
    assert bundle is not None
    try:
        event: Event = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        worker.bundle = None
        if len(bundle) > 1:
            waiting.extendleft(reversed(bundle.alone()))
            yield Stopped(bundle)
        elif worker.process.exitcode in processes.KILLED:
            fault = f"{bundle}: {processes.killed(worker.process.exitcode)}"
            raise MachineFault(fault) from None
        else:
            cause = _cause_of_death(worker.process.exitcode, worker.log)
            yield from _failed(bundle, request, worker.process.pid, cause)
        return
    if isinstance(event, Rejected):
        raise BenchError(event.reason)
    worker.unfinished -= _settled(event)
    if not worker.unfinished or isinstance(event, Stopped):
        worker.bundle = None
    yield event


def _settled(event: Event) -> int:
    """Number of cells that the worker has nothing more to do with."""
    return len(event.cells) if isinstance(event, PutOff) else isinstance(event, Finished)


def _patience(request: RunRequest) -> float | None:
    """Seconds to wait for a worker: until some time after the deadline, if there is one."""
    if math.isinf(request.deadline):
        return None
    return max(0.0, request.deadline - time.time()) + GRACE


def _failed(bundle: Bundle, request: RunRequest, process: int, reason: str) -> Iterator[Event]:
    """Store the cells during which a worker died as failed: their leases are those of the dead."""
    leases = Leases(request.runs, request.settings.take_over, request.suite)
    dead = {
        name: entry
        for name, entry in leases.entries({cell.id for cell in bundle}).items()
        if entry.holder.is_process(process)
    }
    taken = cell_leases.acquire(replace(request, dead=dead), bundle)
    with held(*taken.leases.values()):
        yield from taken.events
        for cell in taken.to_train or ():
            yield cell_leases.store_result(taken, cell, Result("failed", reason))


def _cause_of_death(code: int | None, log: Path) -> str:
    """Describe why a worker died, by its exit code and the last line that it wrote.

    >>> _cause_of_death(-11, Path("none"))
    'the worker was killed by signal 11 (SIGSEGV)'
    """
    if code is not None and code < 0:
        return f"the worker was killed by signal {-code} ({signal.Signals(-code).name})"
    with contextlib.suppress(OSError):
        if lines := log.read_text(encoding="utf-8", errors="replace").strip().splitlines():
            return f"the worker ended with exit code {code}: {lines[-1].strip()}"
    return f"the worker ended with exit code {code} before the cell did"


def _start(request: RunRequest, index: int, logs: Path) -> _Worker:
    log = logs / f".worker-{index}.log"
    context = processes.context()
    pipe, worker_pipe = context.Pipe()
    own_request = replace(request, bundles=(), hardware=share(request.hardware, index))
    process = context.Process(
        target=_work, args=(worker_pipe, own_request, log), name=f"worker-{index}"
    )
    # Workers inherit that SIGINT is ignored: this process alone handles an interrupt.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, handler)
    worker_pipe.close()
    return _Worker(process, pipe, log=log)


def _stop(workers: list[_Worker]) -> None:
    """Stop the workers. One that runs a bundle is killed.

    SIGTERM would raise in its training, and the bundle would be stored as failed.
    """
    for worker in workers:
        worker.pipe.close()
        if worker.bundle is not None:
            worker.process.kill()
    for worker in workers:
        worker.process.join(10)
        if worker.process.is_alive():
            worker.process.kill()


def _work(pipe: Connection, request: RunRequest, log: Path) -> None:
    """Main loop of a worker: receive a bundle, run it, send events; end when the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _write_output_to(log)
    except OSError as error:
        return pipe.send(Rejected(pipe.recv(), str(fault_of_writing(error, request.runs))))
    processes.exit_with_parent()
    environment.adopt(request.environment, request.command)
    from pai_bench.launch.run_bundle import run_bundle

    def emit(event: Event) -> None:
        try:
            pipe.send(event)
        except OSError:
            os._exit(1)  # The parent is gone: the bundle must not be stored as failed.

    while True:
        try:
            bundle: Bundle = pipe.recv()
        except (EOFError, OSError):
            return None
        run_bundle(request, bundle, request.hardware, emit)


def _write_output_to(path: Path) -> None:
    """Redirect stdout and stderr to a file: the terminal is for the progress display."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
