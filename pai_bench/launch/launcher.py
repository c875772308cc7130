"""What a launcher must do, and which there are.

A launcher takes bundles to where they are trained: worker processes, a cluster's queue. It starts
`run_bundle` there and yields what happens. `local` is built in; an installed package offers others
through entry points of the group `pai_bench.launchers`, each naming a class `module:Class`.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from importlib.metadata import entry_points
from typing import Protocol

from pai_bench.core.import_utils import resolve
from pai_bench.core.registry import Registry
from pai_bench.launch.events import Event
from pai_bench.launch.request import RunRequest

GROUP = "pai_bench.launchers"
LOCAL = "local"


class Launcher(Protocol):
    """Runs the bundles of a request, several at a time."""

    def launch(self, request: RunRequest, jobs: int) -> Generator[Event]:
        """Run all bundles, and tell what happens as it happens.

        Each bundle is started once: `Started`, any number of `Progress`, `Finished` for each of
        its cells once they are stored. Closing the iterator, or an interrupt in its consumer, ends
        the workers; what is stored stays, and no cell is stored as failed for it. A worker that
        dies fails the cells that it has not stored, with the reason.

        Args:
            request: The bundles, and what running them takes.
            jobs: How many bundles run side by side, at least 1.

        Raises:
            BenchError: The hardware that was asked for is not to be had.
        """


@cache
def launchers() -> Registry[str]:
    """Name the launchers, and say what each is; they are imported when they are loaded."""
    registry = Registry[str]("launcher")
    _declare(registry, LOCAL, "worker processes on this machine", "pai_bench.launch.local:Local")
    for point in entry_points(group=GROUP):
        _declare(registry, point.name, f"of {point.module}", point.value, required=False)
    return registry


def _declare(
    registry: Registry[str], name: str, about: str, target: str, required: bool = True
) -> None:
    registry.declare(name, about, origin=target, load=lambda: resolve(target), required=required)


def load_launcher(name: str) -> Launcher:
    """Import the launcher called `name`. Raises BenchError for a name that none has."""
    launcher: Launcher = launchers().load(name)()
    return launcher
