"""A copy of the caller's network that methods may work on, or what is wrong with it."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pai_bench.core.errors import BenchError, did_you_mean
from pai_bench.methods.validate.signature import Output, adapt
from pai_bench.networks.scratch import scratch_copy
from pai_bench.sparsity.masks import PRUNABLE, prunable
from pai_bench.sparsity.ownership import check_memory, check_prunable
from pai_bench.sparsity.wrappers import unwrapped

Prunable = Collection[str] | Callable[[str, Tensor], bool] | None
"""Names of parameters, perhaps with wildcards, or a rule of their name and value."""
_HALF = (torch.float16, torch.bfloat16)
_KINDS = (*_HALF, torch.float32, torch.float64)


def admitted(network: object, choice: Prunable, output: Output) -> nn.Module:
    """Copy a network for scoring; the caller's is not touched, and its forward pass not run.

    The copy has no wrapper, half precision becomes single, and it takes one value and returns its
    logits.

    Raises:
        BenchError: It is no network, or one that cannot be scored; the message names the layer.
    """
    if not isinstance(network, nn.Module):
        raise BenchError(f"network must be a torch.nn.Module, got a {type(network).__name__}")
    inner = unwrapped(network)
    if isinstance(inner, torch.jit.ScriptModule):
        raise BenchError("a scripted or traced network cannot be scored: pass the original module")
    for name, tensor in (*inner.named_parameters(), *inner.named_buffers()):
        _check_built(name, tensor)
    if choice is None:
        check_prunable(inner)
    with torch.inference_mode(False):
        copy = scratch_copy(inner)
        if choice is not None:
            _choose(copy, choice)
            check_prunable(copy)
            check_memory(inner, {name for name, _ in prunable(copy)})
        _check_numbers(copy)
        for tensor in (*copy.parameters(), *copy.buffers()):
            if tensor.dtype in _HALF:
                tensor.data = tensor.data.float()
        adapt(copy, output)
    return copy


def _check_built(name: str, tensor: Tensor) -> None:
    if is_lazy(tensor):
        raise BenchError(f"{name} has no shape yet: run a batch through its lazy layer first")
    if tensor.device.type == "meta":
        raise BenchError(f"{name} is on the meta device: it has no values")


def _choose(network: nn.Module, choice: Collection[str] | Callable[[str, Tensor], bool]) -> None:
    """Make the chosen parameters prunable, and no others.

    Raises:
        BenchError: A name matches no parameter, or what is chosen has one dimension only.
    """
    named = dict(network.named_parameters())
    chosen = _by_rule(named, choice) if callable(choice) else _by_name(named, choice)
    for name in sorted(chosen):
        if named[name].dim() < 2:
            raise BenchError(f"prunable: {name} is a vector; only matrices and kernels can be")
    for name, module in network.named_modules():
        prefix = f"{name}." if name else ""
        keys = tuple(k for k in module._parameters if f"{prefix}{k}" in chosen)
        if isinstance(module, PRUNABLE):
            module.prunable = bool(keys)  # type: ignore[assignment]
        else:
            module.prunable_parameters = keys


def _by_rule(named: dict[str, nn.Parameter], rule: Callable[[str, Tensor], bool]) -> set[str]:
    return {n for n, parameter in named.items() if parameter.dim() > 1 and rule(n, parameter)}


def _by_name(named: dict[str, nn.Parameter], patterns: Collection[str]) -> set[str]:
    chosen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matched = fnmatch.filter(named, str(pattern))
        if not matched:
            raise BenchError(f'prunable: no parameter "{pattern}"; {did_you_mean(pattern, named)}')
        chosen |= set(matched)
    return chosen


def _check_numbers(network: nn.Module) -> None:
    """Raise BenchError for weights of a kind that cannot be scored, or that are not finite."""
    weights = prunable(network)
    devices = sorted({str(weight.device) for _, weight in weights})
    if len(devices) > 1:
        raise BenchError(f"the network is spread over {', '.join(devices)}: score it on one device")
    for name, weight in weights:
        if weight.numel() == 0:
            raise BenchError(f"{name} has no elements: its shape is {tuple(weight.shape)}")
        if weight.dtype not in _KINDS or weight.layout is not torch.strided:
            raise BenchError(f"{name} is {weight.dtype}, {weight.layout}: it cannot be scored")
    for name, parameter in network.named_parameters():
        if parameter.is_floating_point() and not bool(parameter.isfinite().all()):
            raise BenchError(f"{name} is not finite: nothing can be ranked by its scores")
