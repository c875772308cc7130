"""Memory that a step has freed is kept for the next one."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Names of glibc's parameters in malloc.h."""
BLOCK, KEPT = 2**30, 2**31 - 1
"""Bytes of the largest block that is kept, and of all that are."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to 2 GiB, in place of asking for it in every step.

    glibc gives each block above 32 MiB, and all that is free above 64 MiB, back to the system at
    once, which has to clear its pages when the next step asks for it again.

    Returns:
        Whether the process does so: the allocator is glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, BLOCK) and mallopt(_TRIM_THRESHOLD, KEPT))
