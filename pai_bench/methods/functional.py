"""Functional API: masks of a method for any network, without cells and Trainer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from numbers import Real
from typing import Any

import torch
from torch import nn

from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams, unchanged_random_state
from pai_bench.methods.base import PruneAtInit
from pai_bench.methods.validate.batches import CheckedBatches, Needs
from pai_bench.methods.validate.failures import in_one_line
from pai_bench.methods.validate.network import Prunable, admitted
from pai_bench.methods.validate.objective import Loss, Objective
from pai_bench.methods.validate.scores import check_scores, describe_rest, note_start
from pai_bench.methods.validate.signature import Output
from pai_bench.registry import methods as registry
from pai_bench.sparsity.masks import Masks
from pai_bench.sparsity.wrappers import unwrapped
from pai_bench.training.context import MethodContext


def prune(
    network: nn.Module,
    method: str | type[PruneAtInit],
    density: float,
    batches: Iterable[tuple[Any, Any]] = (),
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
    loss: Loss | None = None,
    output: Output = None,
    prunable: Prunable = None,
    **hyper: Any,
) -> Masks:
    """Score the weights of `network` by a method, and return its masks at `density`.

    Methods work on a copy: the network, the batches and all global random states stay as they are.
    Call `.apply(network)` on the masks to prune.

    Args:
        network: Any network with conv or linear layers; half precision is scored in single.
        method: Name of a method, built in or registered in the caller's code; or its class.
        density: Fraction of the prunable weights to keep, in (0, 1].
        batches: Pairs (inputs, labels), in a list or a DataLoader. Inputs are a tensor or array
            (N, ...), or several in a tuple (passed on as arguments) or a dictionary (as keywords);
            integers, such as token ids, stay integers. Labels are integers (N, ...). If the method
            does not need them, only their shapes are used; labels may be None.
        seed: Seed of the method's random streams.
        recipe: Recipe of methods that train before they prune (`imp`), with `batches` as one
            epoch. Their masks belong to the current weights, unless they rewind to a later step.
        loss: Function of (outputs, labels) to score by instead of the cross-entropy; labels are
            passed on as they are.
        output: Where the outputs are in what the network returns, if that is not a tensor: an
            index, a key, an attribute, or a function that picks them.
        prunable: Names of the parameters to prune, perhaps with wildcards ("lstm.weight_*"), or a
            rule of name and parameter, asked for all with two or more dimensions. By default the
            weights of conv and linear layers; what else there is, is named in a warning.
        **hyper: Hyper-parameters of the method (`rounds`, `scope`, `selection`, ...).

    Returns:
        One bool tensor per prunable weight, of its shape, True where the weight is kept; with
        `left_out`, and `start` where the method also chose weights to start from (see `Masks`).

    Raises:
        BenchError: The method or a hyper-parameter is unknown, the density is outside (0, 1], the
            network cannot be scored, a batch is not usable, the method does not prune at
            initialisation, or it trains and there is no recipe. Any other error on the way, of the
            network or the method, comes as a BenchError that names the layer.

    Warns:
        BenchWarning: Weights are left out, the scores of a layer say nothing, or the method also
            chose weights to start from.

    >>> masks = prune(nn.Linear(10, 10), "random", 0.25)
    >>> masks.kept, masks.density()
    (25, 0.25)
    """
    with unchanged_random_state(), torch.inference_mode(False), torch.enable_grad():
        cls = _method(method)
        _check_options(cls, hyper, recipe)
        objective = Objective(loss)
        context = MethodContext(
            _checked_density(density),
            recipe or Recipe(epochs=1, batch_size=1, lr=1.0),
            classes=2,
            rng=RandomStreams(seed),
            loss=objective,
        )
        with in_one_line(cls.name):
            copy, original = admitted(network, prunable, output), unwrapped(network)
            module = cls(copy, context, **hyper)
            needs = Needs(cls.needs_data, cls.needs_labels, loss)
            checked = CheckedBatches(batches, copy, original, needs)
            if cls.trains_to_score:
                module.check_batches(checked)
            masks = module.sparsify(module.restrict_inputs(checked, convert=False))
        objective.check_used(cls.name)
    check_scores(module)
    describe_rest(masks, copy, silent=prunable is not None)
    note_start(masks, module, original)
    return masks


def _method(method: object) -> type[PruneAtInit]:
    cls = registry.find(method) if isinstance(method, str) else method
    if not isinstance(cls, type) or not issubclass(cls, PruneAtInit):
        name = getattr(cls, "name", None) or repr(cls)
        raise BenchError(f"{name} does not prune at initialisation")
    return cls


def _check_options(cls: type[PruneAtInit], hyper: dict[str, Any], recipe: Recipe | None) -> None:
    arguments = inspect.signature(cls.__init__).parameters
    registry.check_hyper(cls, {k: v for k, v in hyper.items() if k not in arguments})
    if cls.trains_to_score and recipe is None:
        raise BenchError(f"{cls.name} trains: give it recipe=pai_bench.config.schema.Recipe(...)")


def _checked_density(density: object) -> float:
    if isinstance(density, bool) or not isinstance(density, Real):
        raise BenchError(f"density must be a number, got {density!r}")
    number = float(density)
    if not 0 < number <= 1:
        raise BenchError(f"density {number:g} is impossible: it must be above 0, at most 1")
    return number
