"""The process that streams live runs to W&B: whatever becomes of it, nobody waits for it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pai_bench.config.schema import Benchmark
from pai_bench.core import processes
from pai_bench.leaderboard.wandb.client import (
    REACH,
    logged_in,
    opened,
    problem_of,
    quieten,
    read_notes,
    write_notes,
)
from pai_bench.leaderboard.wandb.runs import RunData

YIELD = 10
"""How far the process stands back behind those that train (`os.nice`)."""


@dataclass(frozen=True)
class Open:
    """Begin a run, over one of the same id: one that is open is closed before."""

    run: RunData


@dataclass(frozen=True)
class Log:
    """Add records to the history of an open run."""

    run: str
    """Its id."""
    records: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Close:
    """End a run."""

    run: str
    is_failed: bool = False
    """Whether none of its seeds has got a result."""


Message = Open | Log | Close


class Stream:
    """Passes messages on to a process of its own: to send one takes no time, and cannot fail.

    Args:
        settings: Project and entity.
        folder: Where the client keeps what it writes.
        mode: `online`, or `auto`: nothing is streamed for somebody who is not logged in.
        reach: Seconds of trying to reach the server.
    """

    def __init__(self, settings: Benchmark, folder: Path, mode: str, reach: float = REACH) -> None:
        self._folder = folder
        context = multiprocessing.get_context("spawn")
        self._queue = context.Queue()
        self._queue.cancel_join_thread()  # What is not taken by the end need not be.
        self._problems, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_stream,
            args=(self._queue, theirs, settings, folder, mode, reach),
            name="wandb-live",
            daemon=True,
        )
        self._process.start()
        theirs.close()

    def send(self, message: Message) -> None:
        """Hand over a message, for a process that may have ended."""
        if self._process.is_alive():
            self._queue.put(message)

    def end(self) -> None:
        """Ask the process to end when it has written what was sent."""
        if self._process.is_alive():
            self._queue.put(None)

    def wait(self, seconds: float) -> str:
        """Wait until the process has ended, no longer than so many seconds; return its problem."""
        with contextlib.suppress(KeyboardInterrupt):  # Who is waited for in vain is ended.
            self._process.join(seconds)
        is_late = self._process.is_alive()
        if is_late:
            self._process.kill()  # W&B's own process ends with it, and sends nothing more.
            self._process.join()
            shutil.rmtree(_own_folder(self._folder, self._process.pid), ignore_errors=True)
        problem = f"W&B has not taken all within {seconds:.3g} s" if is_late else ""
        with contextlib.suppress(EOFError, OSError):
            problem = self._problems.recv() if self._problems.poll() else problem
        self._problems.close()
        self._queue.close()
        return problem


def _stream(
    queue: Any, problems: Connection, settings: Benchmark, folder: Path, mode: str, reach: float
) -> None:
    """In a process of its own: write what comes through `queue` until None comes."""
    processes.lead_group()  # It hears no Ctrl-C: who started it says when it ends.
    processes.exit_with_parent()
    with contextlib.suppress(OSError):
        os.nice(YIELD)
    own = _own_folder(folder, os.getpid())
    try:
        quieten(folder, "live.log")
        if mode == "auto" and not logged_in():
            return
        own.mkdir()
        with contextlib.closing(_Runs(settings, folder, own, reach)) as runs:
            while (message := queue.get()) is not None:
                runs.take(message)
    except Exception as error:
        problems.send(problem_of(error))
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _own_folder(folder: Path, process: int | None) -> Path:
    """Folder for copies of what a process streams: the mirror writes those that are kept."""
    return folder / f".live-{process}"


class _Runs:
    """Runs that are open."""

    def __init__(self, settings: Benchmark, folder: Path, own: Path, reach: float) -> None:
        self._settings, self._folder, self._own, self._reach = settings, folder, own, reach
        self._open: dict[str, Any] = {}

    def take(self, message: Message) -> None:
        """Do what a message says."""
        if isinstance(message, Open):
            self._close(message.run.id)
            _forget(self._folder, message.run.id)
            self._open[message.run.id] = opened(
                message.run, self._settings, "online", self._own, self._reach
            )
        elif isinstance(message, Log):
            for record in message.records:
                self._open[message.run].log(dict(record))
        else:
            self._close(message.run, message.is_failed)

    def close(self) -> None:
        """End what is still open: its training has been interrupted."""
        for run in list(self._open):
            self._close(run, is_failed=True)

    def _close(self, run: str, is_failed: bool = False) -> None:
        if run in self._open:
            self._open.pop(run).finish(exit_code=int(is_failed))


def _forget(folder: Path, run: str) -> None:
    """Let the mirror write a run anew, whatever becomes of the training."""
    noted = read_notes(folder, "online")
    if noted.pop(run, None):
        write_notes(folder, "online", noted)
