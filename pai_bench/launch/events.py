"""Events of a launcher; `Progress` is passed on from the training of a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.training.progress import Progress


@dataclass(frozen=True)
class Started:
    """A worker has started a bundle."""

    bundle: Bundle


@dataclass(frozen=True)
class Finished:
    """The result of a cell is stored, with this status."""

    cell: Cell
    status: str
    reason: str = ""
    by_others: bool = False
    """Whether another process has trained it."""


@dataclass(frozen=True)
class PutOff:
    """Another process holds the leases of these cells of a bundle: they are looked at again."""

    bundle: Bundle
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Rejected:
    """A bundle cannot run on this machine; nothing is stored."""

    bundle: Bundle
    reason: str


@dataclass(frozen=True)
class Stopped:
    """A bundle has stopped without results: its worker has died, or the time budget is spent."""

    bundle: Bundle


Event = Started | Progress | Finished | PutOff | Rejected | Stopped
