"""Gradients with respect to masks, of which most saliency scores are made."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.func import functional_call

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


def add_into(total: dict[str, Tensor], more: Mapping[str, Tensor]) -> None:
    """Add `more` to `total`, name by name, in place."""
    for name, tensor in more.items():
        total[name] = total[name] + tensor if name in total else tensor
