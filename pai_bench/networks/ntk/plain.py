"""Are layers what their types say, with parameters of their own, and outputs a matrix?"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from pai_bench.core.errors import BenchError

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_plain(layer: nn.Module, kinds: Collection[type[nn.Module]]) -> bool:
    """Whether a layer is exactly of one of `kinds`, and computes what that computes.

    Subclasses, parametrizations, hooks, and a forward pass of its own are not plain.
    """
    own = vars(layer)
    return type(layer) in kinds and "forward" not in own and not any(own[key] for key in _HOOKS)


def check_outputs(outputs: object) -> None:
    """Raise BenchError unless a network returns a tensor (n, k)."""
    if not isinstance(outputs, Tensor):
        raise BenchError(f"the network returns a {type(outputs).__name__}, not a tensor (n, k)")
    if outputs.dim() != 2:
        raise BenchError(f"the outputs have shape {tuple(outputs.shape)}, not (n, k): flatten them")


def shares_parameters(network: nn.Module) -> bool:
    """Whether two modules hold one parameter, or two parameters lie in one memory."""
    parameters = [p for _, p in network.named_parameters(remove_duplicate=False)]
    # Tensors on an XLA device have no address.
    places = {p.data_ptr() or id(p) for p in parameters if p.numel()}
    return len(places) < sum(1 for parameter in parameters if parameter.numel())
