"""What a launcher tells while it works; how far a bundle is comes from its training."""

from __future__ import annotations

from dataclasses import dataclass

from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.training.progress import Progress


@dataclass(frozen=True)
class Started:
    """A worker has begun a bundle."""

    bundle: Bundle


@dataclass(frozen=True)
class Finished:
    """A cell is stored, with this status."""

    cell: Cell
    status: str
    reason: str = ""


@dataclass(frozen=True)
class Rejected:
    """A bundle cannot be run here at all; nothing is stored."""

    bundle: Bundle
    reason: str


Event = Started | Progress | Finished | Rejected
