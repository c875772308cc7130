"""Masks that are made of scores which say something, and what to say where they do not."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from torch import nn

from pai_bench.core.errors import BenchError, BenchWarning
from pai_bench.sparsity.masks import Masks, left_out

if TYPE_CHECKING:
    from pai_bench.methods.base import PruneAtInit

_SHOWN = 3


def check_scores(module: PruneAtInit) -> None:
    """Say so where all weights of a layer scored the same: their mask is one by position.

    Raises:
        BenchError: No layer's scores say anything, and the method does not leave it at a warning.
    """
    constant = module.constant_scores
    if not constant:
        return
    everywhere = len(constant) == len(module.masks)
    where = "all layers" if everywhere else _some(constant)
    problem = (
        f"{module.name}: all weights of one layer score the same in {where}, so their mask is one "
        "by position; are these layers used, and do outputs and loss depend on them?"
    )
    if everywhere and module.on_constant_scores == "error":
        raise BenchError(problem)
    warnings.warn(problem, BenchWarning, stacklevel=4)


def describe_rest(masks: Masks, network: nn.Module, silent: bool) -> None:
    """Note in `masks` which matrices and kernels they do not cover, and say so unless `silent`."""
    masks.left_out = left_out(network)
    if silent or not masks.left_out:
        return
    count = sum(masks.left_out.values())
    share = count / (count + masks.total)
    warnings.warn(
        f"no mask covers {_some(tuple(masks.left_out))}: {count:,} weights, {share:.1%} of all; "
        "prunable= chooses which parameters to prune",
        BenchWarning,
        stacklevel=4,
    )


def note_start(masks: Masks, module: PruneAtInit, initial: nn.Module) -> None:
    """Note in `masks` the weights that training is to start from, where the method chose others."""
    before = initial.state_dict()
    masks.start = {
        name: value.detach()
        for name, value in module.network.state_dict().items()
        if not value.equal(before[name].to(value.dtype))
    }
    if masks.start:
        warnings.warn(
            f"{module.name} also chose weights to start from, and the network keeps its own: "
            "network.load_state_dict(masks.start, strict=False) loads them",
            BenchWarning,
            stacklevel=4,
        )


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
