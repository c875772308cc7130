"""Derivatives by each layer's output, by autograd: for any network of supported layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks, get_gradient_edge
from torch.func import functional_call

from pai_bench.networks.ntk.layers import KNOWN, Trace, Use
from pai_bench.networks.ntk.plain import check_outputs, is_plain, shares_parameters

Call = tuple[str, nn.Module, Tensor, Tensor]
"""Name of a layer, the layer, its inputs and its outputs."""
_HOOKED = "saved tensors may be recomputed"


def supports(network: nn.Module) -> bool:
    """Whether every parameter belongs to one layer, whose kernel can be computed."""
    return not shares_parameters(network) and all(
        is_plain(module, KNOWN)
        for module in network.modules()
        if any(True for _ in module.parameters(recurse=False))
    )


class Unsupported(RuntimeError):
    """A parameter is used in another way than by calls of its layer on the images of a batch."""


def trace(network: nn.Module, parameters: Mapping[str, Tensor], images: Tensor) -> Trace:
    """Run the network, record the calls of its layers, and differentiate by their outputs.

    Raises:
        Unsupported: The calls are not all that the outputs depend on.
    """
    calls: list[Call] = []
    graph = torch.is_grad_enabled() and any(p.requires_grad for p in parameters.values())
    values = {
        n: p if graph and p.requires_grad else p.detach().requires_grad_()
        for n, p in parameters.items()
    }
    handles = [
        module.register_forward_hook(_recorder(name, calls, len(images)))
        for name, module in network.named_modules()
        if isinstance(module, KNOWN)
    ]
    try:
        with torch.enable_grad(), disable_saved_tensors_hooks(_HOOKED):
            outputs = functional_call(network, values, (images,))
    except RuntimeError as error:
        raise (Unsupported(_HOOKED) if _HOOKED in str(error) else error) from None
    finally:
        for handle in handles:
            handle.remove()
    check_outputs(outputs)
    if _reaches(outputs, calls, values):
        raise Unsupported("a parameter is used outside of its layer")
    derivatives = _derivatives(outputs, [output for *_, output in calls], graph)
    uses = [
        Use(name, layer, inputs if graph else inputs.detach(), by)
        for (name, layer, inputs, _), by in zip(calls, derivatives, strict=True)
    ]
    return Trace(outputs if graph else outputs.detach(), uses)


def _reaches(outputs: Tensor, calls: list[Call], parameters: Mapping[str, Tensor]) -> bool:
    """Whether outputs depend on a parameter by another way than through the recorded calls.

    A parameter may have a graph of its own: it is searched for, not its leaves.
    """
    ends = {output.grad_fn for *_, output in calls}
    targets = {p.grad_fn or get_gradient_edge(p).node for p in parameters.values()}
    pending = [outputs.grad_fn, *(inputs.grad_fn for _, _, inputs, _ in calls)]
    seen: set[Any] = set()
    while pending:
        node = pending.pop()
        if node is None or node in seen or node in ends:
            continue
        if node in targets:
            return True
        seen.add(node)
        pending.extend(parent for parent, _ in node.next_functions)
    return False


def _recorder(name: str, calls: list[Call], images: int) -> Any:
    """A forward hook that records a call, and returns a copy, which later layers may change."""

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if len(inputs) != 1 or len(inputs[0]) != images or len(output) != images:
            raise Unsupported(f"{name} is not called on the images of a batch")
        if not output.requires_grad:
            output.requires_grad_()
        calls.append((name, layer, inputs[0], output))
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
