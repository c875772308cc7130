"""Derivatives by autograd, by the output of each layer: for any network of known layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pai_bench.networks.ntk.layers import KNOWN, Trace, Use


def can(network: nn.Module) -> bool:
    """Tell whether every parameter of the network is that of a layer whose kernel is known."""
    return all(
        isinstance(module, KNOWN)
        for module in network.modules()
        if any(True for _ in module.parameters(recurse=False))
    )


def trace(network: nn.Module, parameters: Mapping[str, Tensor], images: Tensor) -> Trace:
    """Run the network and note the calls of its layers; then differentiate by their outputs."""
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    graph = torch.is_grad_enabled() and any(p.requires_grad for p in parameters.values())
    given = parameters if graph else {n: p.detach() for n, p in parameters.items()}
    handles = [
        module.register_forward_hook(_note(name, calls, graph))
        for name, module in network.named_modules()
        if isinstance(module, KNOWN)
    ]
    try:
        with torch.enable_grad():
            outputs = functional_call(network, dict(given), (images,))
    finally:
        for handle in handles:
            handle.remove()
    found = _derivatives(outputs, [said for *_, said in calls], graph)
    uses = [Use(*call[:3], part) for call, part in zip(calls, found, strict=True)]
    return Trace(outputs if graph else outputs.detach(), uses)


def _note(name: str, calls: list[tuple[str, nn.Module, Tensor, Tensor]], graph: bool) -> Any:
    """A hook that notes a call, and hands on a copy that later layers may write to."""

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], said: Tensor) -> Tensor:
        if not said.requires_grad:
            said.requires_grad_()
        seen = inputs[0] if graph else inputs[0].detach()
        calls.append((name, layer, seen, said))
        return said.clone()

    return note


def _derivatives(outputs: Tensor, by: list[Tensor], graph: bool) -> list[Tensor]:
    """Derivatives of each of the k outputs (n, k), all at once: (n, k, ...) for each of `by`."""
    n, k = outputs.shape
    each = torch.eye(k, dtype=outputs.dtype, device=outputs.device).unsqueeze(1).expand(k, n, k)
    found = torch.autograd.grad(
        outputs, by, each, is_grads_batched=True, create_graph=graph, materialize_grads=True
    )
    return [part.transpose(0, 1) for part in found]
