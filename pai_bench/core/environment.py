"""Where a result was made: packages, hardware, commit, command line."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pai_bench.core import native, portable
from pai_bench.core.project import VERSION

_COMMAND = "PAI_BENCH_COMMAND"
PACKAGES = (
    "torch", "torch_xla", "pytorch-lightning", "torchmetrics", "numpy", "datasets",
    "scikit-learn", "safetensors", "wandb",
)  # fmt: skip


def describe(device: str, threads: int) -> dict[str, Any]:
    """Collect the environment of a result. `device` is the name of what it was trained on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "device": device,
        "threads": threads,
        "portable": portable.is_in_use(),
        "native": native.is_in_use(),
        "packages": packages(),
        "commit": commit(),
        "command": command_line(),
    }


@cache
def packages() -> dict[str, str]:
    """Versions of the packages that results depend on, this one first."""
    versions = {name: installed for name in PACKAGES if (installed := version_of(name))}
    return {"pai-bench": VERSION, **versions}


def version_of(package: str) -> str | None:
    """Installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def processor() -> str:
    """Name of the CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def commit() -> str | None:
    """Commit of the checkout, with `+changes` when files differ from it; None outside git."""
    root = Path(__file__).parents[1]
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return None
    return head + ("+changes" if _git(root, "status", "--porcelain", "-uno") else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        completed = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout.strip() if completed.returncode == 0 else None


def command_line() -> str:
    """The command as it was typed; a worker has that of the process it serves."""
    return os.environ.get(_COMMAND) or " ".join(["pai-bench", *sys.argv[1:]])


def set_command_line(arguments: Sequence[str]) -> None:
    """Note the command that this process runs."""
    os.environ[_COMMAND] = " ".join(["pai-bench", *arguments])


def adopt(variables: Mapping[str, str], command: str) -> None:
    """Give this process the environment and the command line of the one it works for."""
    os.environ.clear()
    os.environ.update(variables)
    os.environ[_COMMAND] = command


def peak_memory_reset() -> None:
    """Start a new high-water mark of this process's memory, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float | None:
    """High-water mark of this process's memory since the reset, in MiB; None if unknown."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None
