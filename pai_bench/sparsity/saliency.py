"""Gradients with respect to masks, of which most saliency scores are made."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.func import functional_call

from pai_bench.core import distributed
from pai_bench.sparsity.masks import prunable

Forward = Callable[[Any], Tensor]
_HOOKED = "saved tensors may be recomputed"


def float_masks(masks: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Copy bool masks to leaf tensors of the weights' dtype and device that require gradients."""
    return {
        name: masks[name].to(weight.device, weight.dtype).requires_grad_()
        for name, weight in prunable(network)
    }


def masked_forward(
    network: nn.Module,
    masks: Mapping[str, Tensor],
    weights: Mapping[str, Tensor] | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> Forward:
    """Build x -> f(x; weights * masks), leaving the network's own tensors untouched.

    Args:
        network: The network f.
        masks: Parameter name -> bool or float mask.
        weights: Replace the prunable weights, by name; by default the network's own, detached.
        state: Replaces other parameters and buffers, by name.

    Returns:
        A function of a batch of inputs (N, ...).
    """
    values = weights or {name: weight.detach() for name, weight in prunable(network)}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    masked = {name: values[name] * mask for name, mask in masks.items()}
    replaced = {**buffers, **(state or {}), **masked}

    def forward(inputs: Any) -> Tensor:
        try:
            with disable_saved_tensors_hooks(_HOOKED):
                outputs: Tensor = functional_call(network, replaced, (inputs,))
                return outputs
        except RuntimeError as error:
            if _HOOKED not in str(error):
                raise
        recomputed: Tensor = _with_tensors(network, replaced)(inputs)
        return recomputed

    return forward


def _with_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Copy a network, and give the copy these tensors in place of its parameters and buffers.

    For activation checkpointing, which runs layers a second time in the backward pass: by then
    `functional_call` has put the network's own weights back.
    """
    twin = copy.deepcopy(network)
    for name, tensor in tensors.items():
        path, _, key = name.rpartition(".")
        module = twin.get_submodule(path)
        delattr(module, key)
        setattr(module, key, tensor)
    return twin


def mask_gradients(objective: Tensor, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return d objective / d mask for each mask; zero where the objective does not depend on it."""
    gradients = torch.autograd.grad(objective, list(masks.values()), materialize_grads=True)
    return dict(zip(masks, gradients, strict=True))


def sum_over(
    batches: Sequence[tuple[Any, Any]],
    gradients: Callable[[int, Any, Any], Mapping[str, Tensor]],
    weights: Iterable[tuple[str, Tensor]],
) -> dict[str, Tensor]:
    """Sum gradients over batches; of several ranks each takes batches in turn, and all get the sum.

    Args:
        batches: (inputs, labels).
        gradients: Returns the gradients of one batch, given its number, inputs and labels.
        weights: What there are gradients of: name and a tensor of the same shape.
    """
    total: dict[str, Tensor] = {}
    for number, (inputs, labels) in _own(batches):
        with distributed.alone():
            add_into(total, gradients(number, inputs, labels))
    return summed(total, weights)


def summed(parts: Mapping[str, Tensor], weights: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Sum over ranks what each of them has of the gradients of `weights`, perhaps nothing."""
    if distributed.ranks() == 1:
        return dict(parts)
    zeros = ((name, torch.zeros_like(weight)) for name, weight in weights)
    return {name: distributed.summed(parts.get(name, zero)) for name, zero in zeros}


def _own(batches: Sequence[tuple[Any, Any]]) -> Iterator[tuple[int, tuple[Any, Any]]]:
    """The batches of this rank, with their numbers; those of other ranks are not even decoded."""
    if distributed.ranks() == 1:
        return enumerate(batches)
    return ((n, batches[n]) for n in range(distributed.rank(), len(batches), distributed.ranks()))


def add_into(total: dict[str, Tensor], more: Mapping[str, Tensor]) -> None:
    """Add `more` to `total`, name by name, in place."""
    for name, tensor in more.items():
        total[name] = total[name] + tensor if name in total else tensor
