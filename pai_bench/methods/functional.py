"""Functional API: masks of a method for any network, without cells and Trainer."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.methods.base import PruneAtInit
from pai_bench.registry import methods as registry
from pai_bench.sparsity.masks import Masks, check_prunable
from pai_bench.training.context import MethodContext


def prune(
    network: nn.Module,
    method: str | type[PruneAtInit],
    density: float,
    batches: Sequence[tuple[Tensor, Tensor | None]],
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
    **hyper: Any,
) -> Masks:
    """Score the weights of `network` by a method, and return its masks at `density`.

    Weights, buffers and modes of the network and the global random state do not change: call
    `.apply(network)` on the masks to prune.

    Args:
        network: Any network with conv or linear layers.
        method: Name of a method, built in or registered in the caller's code; or its class.
        density: Fraction of the prunable weights to keep, in (0, 1].
        batches: (inputs, labels), shaped (N, ...) and (N,), on the network's device. If the method
            does not need them, only their shapes are used; labels may be None.
        seed: Seed of the method's random streams.
        recipe: Recipe of methods that train before they prune (`imp`), with `batches` as one
            epoch. Their masks belong to the current weights, unless they rewind to a later step.
        **hyper: Hyper-parameters of the method (`rounds`, `scope`, `selection`, ...).

    Returns:
        One bool tensor per prunable weight, of its shape, True where the weight is kept.

    Raises:
        BenchError: The method or a hyper-parameter is unknown, the density is outside (0, 1], the
            network has no conv or linear layers, the method does not prune at initialisation, or
            it trains and there is no recipe.

    >>> masks = prune(nn.Linear(10, 10), "random", 0.25, [])
    >>> masks.kept, masks.density()
    (25, 0.25)
    """
    if not 0 < density <= 1:
        raise BenchError(f"density {density:g} is impossible: it must be above 0, at most 1")
    check_prunable(network)
    cls = registry.find(method) if isinstance(method, str) else method
    if not issubclass(cls, PruneAtInit):
        raise BenchError(f"{cls.name} does not prune at initialisation")
    arguments = inspect.signature(cls.__init__).parameters
    registry.check_hyper(cls, {k: v for k, v in hyper.items() if k not in arguments})
    if cls.trains_to_score and recipe is None:
        raise BenchError(f"{cls.name} trains: give it recipe=pai_bench.config.schema.Recipe(...)")
    recipe = recipe or Recipe(epochs=1, batch_size=1, lr=1.0)
    module = cls(
        network, MethodContext(density, recipe, classes=2, rng=RandomStreams(seed)), **hyper
    )
    return module.sparsify(module.restrict_inputs(batches))
