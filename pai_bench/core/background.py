"""Work in a thread beside a block: it begins with the block, and is over when the block is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from threading import Event, Thread


@contextlib.contextmanager
def beside(work: Callable[[Event], None], name: str) -> Iterator[None]:
    """Run `work` in a thread for as long as the block runs, and wait for its end.

    Args:
        work: Is given an event that is set when the block has ended, upon which it should return.
        name: Of the thread.

    >>> done = []
    >>> with beside(lambda ended: done.append(ended.wait()), "example"):
    ...     done.append("block")
    >>> done
    ['block', True]
    """
    ended = Event()
    thread = Thread(target=work, args=(ended,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
