"""What a method is given beside the network: how sparse, how to train, where chance is from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from pai_bench.config.schema import Recipe
from pai_bench.core.rng import RandomStreams
from pai_bench.store.search_cache import SearchCache


@dataclass(frozen=True)
class MethodContext:
    """Density, recipe and random streams of the cell that a method trains."""

    density: float
    """Share of the prunable weights that is kept in the end."""
    recipe: Recipe
    classes: int
    rng: RandomStreams
    """The random streams of the cell's seed."""
    sanity_check: str = ""
    """The sanity check to make of the method (training/sanity_checks.py)."""
    other_start: Callable[[], nn.Module] | None = None
    """Builds the network with other initial weights, for the check `reinitialise`."""
    search_cache: SearchCache | None = None
    """Where searches are stored that cells share; without it each method runs its own."""
    initialise: Callable[[nn.Module], None] | None = None
    """Draws the initial weights of a network as PyTorch made it; without it they stay as made."""
