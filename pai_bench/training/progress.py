"""How far a bundle is: the one kind of event that a training sends. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pai_bench.experiment.bundle import Bundle


@dataclass(frozen=True)
class Progress:
    """Where the training of a bundle stands."""

    bundle: Bundle
    epoch: int
    """Epochs that have ended; 0 while masks are chosen."""
    epochs: int
    message: str = ""
    """While masks are chosen: rounds, passes and batches."""


OnProgress = Callable[[Progress], None]


def ignore(_progress: Progress) -> None:
    """Where nobody asks."""
