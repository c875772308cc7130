"""The functional API: masks for anybody's network, without the harness."""

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
    """Score the weights of a network by a method and return its masks at a density.

    The network's weights, buffers and modes and the global random state stay as they are: call
    `.apply(network)` on the result to prune.

    Args:
        network: Any module with linear or convolutional layers. A method that looks at data runs
            it on `batches`.
        method: The name of a method, also of one that was registered in one's own code, or a class.
        density: Kept over prunable weights, above 0 and at most 1.
        batches: (inputs, labels) on the network's device, as the network takes them: images
            (N, C, H, W) and labels (N,). Of what the method does not need only shapes are used.
        seed: Of all that is drawn at random; the same seed gives the same masks.
        recipe: How a method trains that prunes what it has trained (`imp`), with `batches` as one
            epoch. Its masks are for the weights as they are now, unless it rewinds to a later step.
        **hyper: The method's hyper-parameters: `rounds`, `scope`, `selection` and so on.

    Returns:
        Parameter name -> bool tensor of the parameter's shape, True where the weight is kept.

    Raises:
        BenchError: The method or a hyper-parameter is unknown, the density is outside of (0, 1],
            the network has no conv or linear layer, or the method does not prune at initialisation.

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
    own = inspect.signature(cls.__init__).parameters
    registry.check_hyper(cls, {k: v for k, v in hyper.items() if k not in own})
    if cls.trains_to_score and recipe is None:
        raise BenchError(f"{cls.name} trains: give it recipe=pai_bench.config.schema.Recipe(...)")
    chosen = recipe or Recipe(epochs=1, batch_size=1, lr=1.0)
    module = cls(
        network, MethodContext(density, chosen, classes=2, rng=RandomStreams(seed)), **hyper
    )
    return module.sparsify(module.restrict_inputs(batches))
