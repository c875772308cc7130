"""Worker processes: how they start, when they end, and what ended them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Collection
from multiprocessing.connection import wait
from threading import Event, Thread
from typing import Any

from pai_bench.core.machine import AGAIN

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
KILLED = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGBUS)
"""Exit codes of a process that the system ended: for want of memory, or of room behind a file."""

_asked_to_end = Event()


def context() -> Any:
    """The way to start processes; where there is a fork server, it has imported what is slow."""
    chosen: Any = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        chosen.set_forkserver_preload(["pai_bench.launch.preload"])
    return chosen


def end_when_asked(*_signal: object) -> None:
    """Ask this process to end: its training writes a checkpoint first."""
    _asked_to_end.set()


def end_on(signals: Collection[signal.Signals]) -> None:
    """Ask this process to end as soon as one of these signals comes; to be called in main thread.

    They are waited for in a thread, and blocked in all others. Lightning's handler of SIGTERM,
    which would end a training between two evaluations, does not see them, and processes that load
    data, which inherit what is blocked, outlive them.
    """
    for number in signals:  # For threads that were there before: nothing is blocked in these.
        signal.signal(number, end_when_asked)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    Thread(target=_wait_for, args=(signals,), daemon=True).start()


def _wait_for(signals: Collection[signal.Signals]) -> None:
    while True:
        signal.sigwait(signals)
        _asked_to_end.set()


def is_asked_to_end() -> bool:
    """Whether this process has been asked to end."""
    return _asked_to_end.is_set()


def exit_with_parent(grace: float = 0.0) -> None:
    """Let this process end as soon as its parent is gone: an epoch can take hours.

    Args:
        grace: Seconds in which it may end by itself, having been asked to.
    """
    Thread(target=_wait_for_parent, args=(grace,), daemon=True).start()


def _wait_for_parent(grace: float) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        _asked_to_end.set()
        time.sleep(grace)
        if os.getpgrp() == os.getpid():
            kill_group(os.getpid())
        os._exit(1)


def lead_group() -> None:
    """Let this process and all that it will start be ended together."""
    os.setpgid(0, 0)


def kill_group(leader: int) -> None:
    """Kill a process that leads a group, and what it has started: workers of a loader, say."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def killed(code: int, what: str = "the worker") -> str:
    """Say that the system ended a process.

    >>> killed(-9)[:72]
    'the worker was killed by signal 9 (SIGKILL): is the memory of this machi'
    """
    full = "file system" if -code == signal.SIGBUS else "memory"
    return (
        f"{what} was killed by signal {-code} ({signal.Signals(-code).name}): is the {full} of "
        f"this machine full? Use fewer --jobs; {AGAIN}"
    )
