"""A training of this process is asked to stop: it does at its next step, with a checkpoint.

The signals of a queue are waited for in a thread, and blocked in all others. Lightning's handler of
SIGTERM, which would end a training between two evaluations, does not see them, and processes that
load data, which inherit what is blocked, outlive them.
"""

from __future__ import annotations

import signal
from collections.abc import Collection
from threading import Event, Thread

_asked = Event()


def is_asked() -> bool:
    """Whether the training of this process is to stop."""
    return _asked.is_set()


def ask() -> None:
    """Ask the training of this process to stop, for good."""
    _asked.set()


def ask_on(signals: Collection[signal.Signals]) -> None:
    """Ask as soon as one of these signals comes. To be called in the main thread."""
    for number in signals:  # For threads that were there before: nothing is blocked in these.
        signal.signal(number, lambda *_: ask())
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    Thread(target=_wait_for, args=(signals,), daemon=True).start()


def _wait_for(signals: Collection[signal.Signals]) -> None:
    while True:
        signal.sigwait(signals)
        ask()
