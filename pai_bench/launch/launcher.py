"""The protocol of launchers, and their registry.

A launcher runs bundles where they are to be trained: in worker processes, or in the queue of a
cluster. It calls `run_bundle` there and yields events. `local`, `slurm` and `ray` are built in;
installed packages add others by entry points of the group `pai_bench.launchers`, each naming a
class `module:Class`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.hardware import Hardware
from pai_bench.core.import_utils import resolve
from pai_bench.core.registry import Registry
from pai_bench.launch.cluster.queued import QueuedJob
from pai_bench.launch.events import Event
from pai_bench.launch.request import RunRequest

GROUP = "pai_bench.launchers"
LOCAL = "local"


class Launcher(Protocol):
    """Runs the bundles of a request, several at a time."""

    def launch(self, request: RunRequest, jobs: int) -> Generator[Event]:
        """Run all bundles, and yield events as they happen.

        For each bundle: `Started`, any number of `Progress`, and `Finished` for each of its cells
        when its result is stored. `PutOff` names cells that another process trains: they are
        launched again when it does no more. Closing the iterator, or an interrupt in its consumer,
        stops the workers; stored results stay, and no cell is stored as failed because of it. If a
        worker dies with a bundle of one cell, the cell is stored as failed, with the reason; with
        several, it is `Stopped`, and its cells are run again, each as a bundle of its own. A fault
        of the machine (core/machine.py) is no result: nothing is stored. After the deadline of the
        request no bundle is started, and those that run are `Stopped`.

        Args:
            request: The bundles, with settings, folder of results and hardware.
            jobs: Number of bundles that run in parallel, at least 1.

        Raises:
            BenchError: The requested hardware is not available, or the machine failed.
        """


@runtime_checkable
class ClusterLauncher(Launcher, Protocol):
    """A launcher whose bundles run on other machines than this one."""

    def hardware(self, settings: Benchmark, asked: Hardware) -> Hardware:
        """Tell what bundles run on there, where any hardware was asked for.

        Raises:
            BenchError: What was asked for is not what they are given.
        """

    def number_of_jobs(self, settings: Benchmark, asked: int) -> int:
        """Tell how many bundles run at a time, where `asked` is 0 if nothing was said."""

    def detached(self) -> str:
        """Say, after an interrupt, what goes on without this process."""

    def queue(self, runs: Path) -> list[QueuedJob]:
        """List the jobs of a folder of results that wait or run."""


def hardware_of(launcher: str, gpus: int, asked: Hardware) -> Hardware:
    """Choose GPUs or processors by what a bundle is given; raise BenchError if that is not asked.

    >>> hardware_of("slurm", 1, Hardware()).accelerator
    'gpu'
    """
    given = "gpu" if gpus else "cpu"
    if asked.accelerator not in ("auto", given):
        key = f"{launcher}.gpus is {gpus}"
        raise BenchError(f"--accelerator {asked.accelerator}: a bundle gets none there ({key})")
    return replace(asked, accelerator=given)


@cache
def launchers() -> Registry[str]:
    """Return the registry of launchers; listing them does not import them."""
    registry = Registry[str]("launcher")
    _declare(registry, LOCAL, "worker processes on this machine", "pai_bench.launch.local:Local")
    _declare(registry, "slurm", "jobs of a Slurm cluster", "pai_bench.launch.cluster.slurm:Slurm")
    _declare(registry, "ray", "tasks of a Ray cluster", "pai_bench.launch.cluster.ray:Ray")
    for point in entry_points(group=GROUP):
        _declare(registry, point.name, f"of {point.module}", point.value, required=False)
    return registry


def _declare(
    registry: Registry[str], name: str, about: str, target: str, required: bool = True
) -> None:
    registry.declare(name, about, origin=target, load=lambda: resolve(target), required=required)


def load_launcher(name: str) -> Launcher:
    """Import the launcher called `name`.

    Raises:
        BenchError: The name is unknown, or the package that offers it cannot be imported.
    """
    try:
        launcher: Launcher = launchers().load(name)()
    except BenchError:
        raise
    except Exception as error:
        problem = f"{type(error).__name__}: {first_line(error)}"
        raise BenchError(f"launcher {name} of {launchers().origin(name)}: {problem}") from error
    return launcher
