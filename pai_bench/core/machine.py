"""Faults of the machine: disk, memory, rights, driver. They are no result of what was trained."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from pai_bench.core.errors import BenchError, first_line

AGAIN = "what is stored stays, and the same command goes on"
_SPACE = f"free some, or write elsewhere (--runs); {AGAIN}"
_RIGHTS = f"allow it, or write elsewhere (--runs); {AGAIN}"
_DISK = f"see to the disk; {AGAIN}"
_MEMORY = f"use fewer --jobs, or end what else needs it; {AGAIN}"
_FILES = f"raise `ulimit -n`, or use fewer --jobs; {AGAIN}"
_PROCESSES = f"raise `ulimit -u`, or use fewer --jobs; {AGAIN}"
_DRIVER = f"see to the driver (`nvidia-smi` shows whether it answers); {AGAIN}"
FAULTS = {
    errno.ENOSPC: ("no space is left on the disk", _SPACE),
    errno.EDQUOT: ("the disk quota is used up", _SPACE),
    errno.EFBIG: ("the largest size of a file is reached", _SPACE),
    errno.EROFS: ("the disk can only be read", _RIGHTS),
    errno.EACCES: ("permission denied", _RIGHTS),
    errno.EPERM: ("operation not permitted", _RIGHTS),
    errno.EIO: ("the disk does not answer as it should", _DISK),
    errno.ENXIO: ("the disk is gone", _DISK),
    errno.ENODEV: ("the disk is gone", _DISK),
    errno.ESTALE: ("the network disk is gone", _DISK),
    errno.ENOTCONN: ("the network disk is gone", _DISK),
    errno.ENOMEM: ("the memory of this machine is full", _MEMORY),
    errno.EMFILE: ("too many files are open", _FILES),
    errno.ENFILE: ("too many files are open on this machine", _FILES),
    errno.EAGAIN: ("no further process can be started", _PROCESSES),
}
"""By number of the error: what happened, and what to do."""
_MESSAGES = {
    "can't allocate memory": FAULTS[errno.ENOMEM],
    "not enough memory": FAULTS[errno.ENOMEM],
    "PytorchStreamWriter failed writing": FAULTS[errno.ENOSPC],
    "] . unexpected pos ": FAULTS[errno.ENOSPC],
    "basic_ios::clear: iostream error": FAULTS[errno.ENOSPC],
    "can't start new thread": ("no further thread can be started", _PROCESSES),
    "no CUDA-capable device": ("the GPU is gone", _DRIVER),
    "busy or unavailable": ("the GPU is not available", _DRIVER),
    "uncorrectable ECC error": ("the memory of the GPU is broken", _DRIVER),
    "GPU is lost": ("the GPU is gone", _DRIVER),
    "Found no NVIDIA driver": ("the GPU's driver is gone", _DRIVER),
    "CUDA error: unknown error": ("the GPU's driver does not answer", _DRIVER),
    "CUDA driver initialization failed": ("the GPU's driver does not answer", _DRIVER),
    **{os.strerror(number): fault for number, fault in FAULTS.items()},
}
"""By a part of what libraries say that have no number: torch, safetensors, a loader's process."""


class MachineFault(BenchError):
    """The machine failed: nothing is stored of what it was doing, and the run stops."""


def machine_fault(error: BaseException, place: Path | None = None) -> MachineFault | None:
    """Tell what failed, if `error` comes from a fault of the machine; None for any other.

    Args:
        error: What was raised.
        place: What was being written, named where the error names no file.
    """
    if isinstance(error, MachineFault):
        return error
    for link in _chain(error):
        if fault := _fault(link):
            happened, advice = fault
            return MachineFault(f"{happened}{_where(link, place)}: {advice}")
    return None


def fault_of_writing(error: Exception, place: Path) -> MachineFault | None:
    """The same outside of any training, where every error of the system is the machine's."""
    if isinstance(error, OSError) and machine_fault(error) is None:
        return MachineFault(f"{type(error).__name__}: {first_line(error)}; {AGAIN}")
    return machine_fault(error, place)


def _fault(error: BaseException) -> tuple[str, str] | None:
    if isinstance(error, MemoryError):
        return FAULTS[errno.ENOMEM]
    if isinstance(error, OSError) and error.errno is not None:
        return FAULTS.get(error.errno)
    if isinstance(error, OSError | RuntimeError) or type(error).__name__ == "SafetensorError":
        text = str(error)
        return next((fault for part, fault in _MESSAGES.items() if part in text), None)
    return None


def _where(error: BaseException, place: Path | None) -> str:
    name = getattr(error, "filename", None) or (place and str(place))
    return f" ({os.fsdecode(name)})" if isinstance(name, str | bytes) else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was raised from."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
