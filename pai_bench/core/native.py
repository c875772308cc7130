"""The fastest products of matrices that this processor has, whatever their bits.

MKL, which multiplies PyTorch's matrices, leaves AVX-512 to processors of its own vendor; the
OpenBLAS in NumPy goes by the instructions that a processor has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from pai_bench.core.cpuinfo import words_of

_is_in_use = False


def choose(threads: int) -> Mapping[str, str]:
    """Choose the threads of products, before the libraries are loaded, and for the workers.

    Args:
        threads: CPU threads of a cell.

    Returns:
        The environment variables that were set; none on a processor that MKL is best on.
    """
    chosen = variables(threads) if is_faster() else {}
    os.environ.update(chosen)
    return chosen


def variables(threads: int) -> Mapping[str, str]:
    """Return the environment variables by which the library is told its threads."""
    return {"OPENBLAS_NUM_THREADS": str(threads)}


@cache
def is_faster() -> bool:
    """Whether OpenBLAS has wider instructions here than MKL uses."""
    return "AuthenticAMD" in words_of("vendor_id") and "avx512f" in words_of("flags")


def use() -> bool:
    """Let this process multiply by OpenBLAS where that is faster, if it was chosen in time.

    Returns:
        Whether it does so. It does not where the libraries were loaded before `choose`, or NumPy
        was built with another library.
    """
    global _is_in_use
    if not _is_in_use and is_faster() and _has_its_threads():
        from pai_bench.core import openblas  # loads PyTorch

        openblas.put_in_place()
        _is_in_use = True
    return _is_in_use


def is_in_use() -> bool:
    """Whether this process multiplies by OpenBLAS as it is."""
    return _is_in_use


def _has_its_threads() -> bool:
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    wanted = os.environ.get("OPENBLAS_NUM_THREADS")
    entries = [entry for entry in threadpool_info() if entry["internal_api"] == "openblas"]
    return {str(entry["num_threads"]) for entry in entries} == {wanted}
