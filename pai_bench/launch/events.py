"""Many cells, one way to run them: a launcher takes an Order and yields events until it is done."""

from __future__ import annotations

from dataclasses import dataclass

from pai_bench.experiment.cell import Cell


@dataclass(frozen=True)
class Started:
    """A worker has begun a cell."""

    cell: Cell


@dataclass(frozen=True)
class Epoch:
    """A cell has finished an epoch; epoch 0 begins with the choice of masks."""

    cell: Cell
    epoch: int
    epochs: int


@dataclass(frozen=True)
class Scoring:
    """A cell is choosing its masks, and has come so far."""

    cell: Cell
    reached: str


@dataclass(frozen=True)
class Finished:
    """A cell is stored, with this status."""

    cell: Cell
    status: str
    reason: str = ""


@dataclass(frozen=True)
class Rejected:
    """A cell cannot be run here at all; nothing is stored."""

    cell: Cell
    reason: str


Event = Started | Epoch | Scoring | Finished | Rejected
