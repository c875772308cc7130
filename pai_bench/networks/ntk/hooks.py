"""Derivatives by each layer's output, by autograd: for any network of supported layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pai_bench.networks.ntk.layers import KNOWN, Trace, Use


def supports(network: nn.Module) -> bool:
    """Whether every parameter belongs to a layer whose kernel can be computed."""
    return all(
        isinstance(module, KNOWN)
        for module in network.modules()
        if any(True for _ in module.parameters(recurse=False))
    )


def trace(network: nn.Module, parameters: Mapping[str, Tensor], images: Tensor) -> Trace:
    """Run the network, record the calls of its layers, and differentiate by their outputs."""
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    graph = torch.is_grad_enabled() and any(p.requires_grad for p in parameters.values())
    values = parameters if graph else {n: p.detach() for n, p in parameters.items()}
    handles = [
        module.register_forward_hook(_recorder(name, calls, graph))
        for name, module in network.named_modules()
        if isinstance(module, KNOWN)
    ]
    try:
        with torch.enable_grad():
            outputs = functional_call(network, dict(values), (images,))
    finally:
        for handle in handles:
            handle.remove()
    derivatives = _derivatives(outputs, [output for *_, output in calls], graph)
    uses = [Use(*call[:3], by) for call, by in zip(calls, derivatives, strict=True)]
    return Trace(outputs if graph else outputs.detach(), uses)


def _recorder(name: str, calls: list[tuple[str, nn.Module, Tensor, Tensor]], graph: bool) -> Any:
    """A forward hook that records a call, and returns a copy, which later layers may change."""

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not output.requires_grad:
            output.requires_grad_()
        layer_input = inputs[0] if graph else inputs[0].detach()
        calls.append((name, layer, layer_input, output))
        return output.clone()

    return record


def _derivatives(outputs: Tensor, by: list[Tensor], graph: bool) -> list[Tensor]:
    """Derivatives of each of the k outputs (n, k), all at once: (n, k, ...) for each of `by`."""
    n, k = outputs.shape
    each = torch.eye(k, dtype=outputs.dtype, device=outputs.device).unsqueeze(1).expand(k, n, k)
    derivatives = torch.autograd.grad(
        outputs, by, each, is_grads_batched=True, create_graph=graph, materialize_grads=True
    )
    return [derivative.transpose(0, 1) for derivative in derivatives]
