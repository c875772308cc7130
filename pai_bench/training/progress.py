"""Progress of a bundle: the event that a training emits. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pai_bench.experiment.bundle import Bundle


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


OnProgress = Callable[[Progress], None]


def ignore(_progress: Progress) -> None:
    """Discard progress: the default callback."""
