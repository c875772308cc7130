"""What a method gets besides its network: density, recipe, random streams, search cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pai_bench.config.schema import Recipe
from pai_bench.core.rng import RandomStreams
from pai_bench.store.search_cache import SearchCache


@dataclass(frozen=True)
class MethodContext:
    """The settings of a cell that its method needs."""

    density: float
    """Share of the prunable weights that is kept after training."""
    recipe: Recipe
    classes: int
    """Number of classes of the data set."""
    rng: RandomStreams
    """Named random streams of the cell's seed."""
    sanity_check: str = ""
    """Name of the sanity check to run on the method (training/sanity_checks.py); "" for none."""
    other_start: Callable[[], nn.Module] | None = None
    """Builds the network with other initial weights, for the sanity check `reinitialise`."""
    search_cache: SearchCache | None = None
    """Cache of searches that cells share; without it each method runs its own."""
    initialise: Callable[[nn.Module], None] | None = None
    """Redraws the weights of a network in place by the network's initialisation; None: PyTorch's
    default initialisation stays."""
    loss: Callable[..., Tensor] = cross_entropy
    """Loss that methods score by, of outputs and labels."""
