"""Reading thousands of results without the garbage collector, which would find nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the collector of cycles: all that is read stays, and it would walk it again and again.

    A quarter of the time of a page of ten thousand results. What was made meanwhile then counts as
    old, so that no walk through all of it follows at once.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.unfreeze()  # back from the permanent generation into the oldest, unwalked
            gc.enable()
