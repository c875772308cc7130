"""What Linux says of this machine's processor."""

from __future__ import annotations

import platform
from pathlib import Path


def words_of(key: str) -> frozenset[str]:
    """Words that an x86-64 processor has under a key, as "flags"; none where it cannot be read."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return frozenset()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    line = next((line for line in lines if line.startswith(key)), "")
    return frozenset(line.partition(":")[2].split())
