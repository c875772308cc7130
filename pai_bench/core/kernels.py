"""Kernels of a process on a CPU: the same on every processor, or the fastest of this one."""

from __future__ import annotations

from collections.abc import Mapping

from pai_bench.core import native, portable


def choose(is_portable: bool, threads: int) -> Mapping[str, str]:
    """Choose kernels for this process, before it loads the libraries, and for its workers.

    Args:
        is_portable: Whether bits are to be the same on other processors.
        threads: CPU threads of a cell.

    Returns:
        The environment variables that were set.
    """
    return portable.choose(threads) if is_portable else native.choose(threads)


def use(is_portable: bool) -> bool:
    """Let this process compute by the kernels that were chosen; whether they are in place."""
    return portable.use() if is_portable else native.use()
