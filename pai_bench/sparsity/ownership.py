"""Can each prunable weight be masked: is it a parameter of its own, with a storage of its own?"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import prunable, prunable_keys


def check_prunable(network: nn.Module) -> None:
    """Check that there are prunable weights, and that each is a parameter of its own.

    Weights that two layers share, in name or in memory, or that are computed from others cannot be
    replaced by masked ones for a single forward pass: scores would silently be wrong. Computed
    weights are not looked at, as that alone may change the network (spectral_norm).

    Raises:
        BenchError: Nothing is prunable, or a weight is shared, computed, or has no values yet.
    """
    for name, module in network.named_modules():
        _check_not_computed(name, module)
    weights = prunable(network)
    if not weights:
        raise BenchError("there is no conv or linear layer to prune")
    owners = {id(parameter): name for name, parameter in network.named_parameters()}
    for name, weight in weights:
        owner = owners.get(id(weight))
        if owner != name:
            problem = f"it is {owner}" if owner else "it was replaced by a plain tensor"
            raise BenchError(f"{name} is no parameter of its own: {problem}")
        _check_values(name, weight)
    check_memory(network, {name for name, _ in weights})


def _check_not_computed(name: str, module: nn.Module) -> None:
    """Raise BenchError for a layer with a weight that a parametrization or a hook computes."""
    parametrized: object = getattr(module, "parametrizations", ())
    for key in prunable_keys(module):
        if key in module._parameters:
            continue
        if parametrize.is_parametrized(module) and key in parametrized:  # type: ignore[operator]
            problem = "a parametrization; call torch.nn.utils.parametrize.remove_parametrizations"
        elif any(held.startswith(f"{key}_") for held in module._parameters):
            problem = "weight_norm, spectral_norm or torch.nn.utils.prune; remove that"
        else:
            problem = "code of the layer"
        where = f"{name}.{key}" if name else key
        raise BenchError(f"{where} is no parameter of its own: it is computed by {problem}")


def _check_values(name: str, weight: Tensor) -> None:
    if is_lazy(weight):
        raise BenchError(f"{name} has no shape yet: run a batch through its lazy layer first")
    if any(s == 0 and n > 1 for s, n in zip(weight.stride(), weight.shape, strict=True)):
        raise BenchError(f"{name} is an expanded view: many of its weights are one number")


def check_memory(network: nn.Module, weights: Collection[str]) -> None:
    """Raise BenchError if one of `weights` shares memory with another parameter."""
    spans = sorted(
        (parameter.data_ptr(), _end(parameter), name)
        for name, parameter in network.named_parameters()
        if not is_lazy(parameter) and parameter.device.type != "meta" and parameter.numel()
    )
    reached, by = 0, ""
    for start, end, name in spans:
        if start < reached and (name in weights or by in weights):
            raise BenchError(f"{by} and {name} share their memory: a mask of one is one of both")
        if end > reached:
            reached, by = end, name


def _end(tensor: Tensor) -> int:
    """Address behind the last element."""
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr() + (last + 1) * tensor.element_size()
