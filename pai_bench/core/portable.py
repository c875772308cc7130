"""The same bits on every x86-64 processor that has AVX2.

What a processor changes in a result is the order in which its kernels add. PyTorch's own kernels
are fixed by an instruction set (`ATEN_CPU_CAPABILITY`), and so are oneDNN's convolutions; MKL,
which multiplies matrices, chooses by vendor, and has one path that is the same for all
(`MKL_CBWR=COMPATIBLE`, https://www.intel.com/content/www/us/en/docs/onemkl), but is slower.
Products go to the OpenBLAS in NumPy instead, whose kernels are named (`OPENBLAS_CORETYPE`)
and whose blocks have the same size on all machines; MKL's slow path is left with the rest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from pai_bench.core.cpuinfo import words_of

_NEEDED = {"avx2", "fma"}
_is_in_use = False


def choose(threads: int) -> Mapping[str, str]:
    """Choose the kernels for this process, if it has not loaded the libraries, and for its workers.

    Args:
        threads: CPU threads of a cell.

    Returns:
        The environment variables that were set; none on a processor that lacks the instructions.
    """
    chosen = variables(threads) if is_supported() else {}
    os.environ.update(chosen)
    return chosen


def variables(threads: int) -> Mapping[str, str]:
    """Return the environment variables by which libraries are told their kernels."""
    return {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_NUM_THREADS": str(threads),
    }


@cache
def is_supported() -> bool:
    """Whether this processor has the instructions that the kernels are made of."""
    return words_of("flags") >= _NEEDED


def is_in_use() -> bool:
    """Whether this process has the portable kernels."""
    return _is_in_use


def use() -> bool:
    """Let this process multiply matrices by the portable kernels, if they were chosen in time.

    Returns:
        Whether they are in place. They are not where the libraries were loaded before `choose`, or
        NumPy was built with another library than OpenBLAS.
    """
    from pai_bench.core import openblas  # loads PyTorch

    global _is_in_use
    if not _is_in_use and is_supported() and _were_chosen():
        openblas.put_in_place()
        _is_in_use = True
    return _is_in_use


def _were_chosen() -> bool:
    import numpy  # noqa: F401
    import torch
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    openblas = [entry for entry in threadpool_info() if entry["internal_api"] == "openblas"]
    kernels = {entry["architecture"] for entry in openblas}
    return kernels == {"Haswell"} and torch.backends.cpu.get_cpu_capability() == "AVX2"
