"""Progress of a bundle: the event that a training emits. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pai_bench.experiment.bundle import Bundle


@dataclass(frozen=True)
class CurvePoint:
    """What the learning curves of one cell got in one epoch."""

    cell: str
    """Its id."""
    epoch: int
    """Number of finished epochs, this one included."""
    values: Mapping[str, float]
    """By name of the curve."""


@dataclass(frozen=True)
class Progress:
    """State of the training of a bundle."""

    bundle: Bundle
    epoch: int
    """Number of finished epochs; 0 while masks are chosen."""
    epochs: int
    """Number of epochs of the training."""
    message: str = ""
    """Round, pass and batch while masks are chosen."""
    points: tuple[CurvePoint, ...] = ()
    """What is new in the learning curves; of a training that resumes, all that there is."""


OnProgress = Callable[[Progress], None]


def ignore(_progress: Progress) -> None:
    """Discard progress: the default callback."""
