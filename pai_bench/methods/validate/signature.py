"""How a network takes its inputs, and which of its outputs are the logits: hooks on a copy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pai_bench.core.errors import BenchError

Output = int | str | Callable[[Any], Tensor] | None
"""Index, key or attribute of the logits in what a network returns, or a function that picks them.
"""


@dataclass(frozen=True)
class Unpack:
    """Pass tuples and lists on as arguments, dictionaries as keywords, where `forward` takes them.

    Methods call a network with one value, its inputs.
    """

    signature: inspect.Signature

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of `forward`."""
        if len(args) != 1 or kwargs:
            return args, kwargs
        given = args[0]
        if isinstance(given, tuple | list) and self._takes(*given):
            return tuple(given), {}
        if isinstance(given, Mapping) and self._takes(**given):
            return (), dict(given)
        return args, kwargs

    def _takes(self, *args: Any, **kwargs: Any) -> bool:
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError:
            return False
        return True


@dataclass(frozen=True)
class Select:
    """Replace what a network returns by its logits."""

    output: Output

    def __call__(self, module: nn.Module, args: Any, returned: Any) -> Tensor:
        """Return the logits. Raises BenchError if there are none."""
        logits = returned if self.output is None else self._picked(returned)
        if isinstance(logits, Tensor):
            if not logits.is_floating_point():
                raise BenchError(f"the network returns {logits.dtype}, not real numbers")
            return logits
        kind = type(logits).__name__
        if self.output is not None:
            raise BenchError(f"output={self.output!r} is a {kind}, not a tensor")
        known = f" ({', '.join(map(str, logits))})" if isinstance(logits, Mapping) else ""
        raise BenchError(
            f"the network returns a {kind}{known}: say which part of it are the logits, by "
            "output= (an index, a key, an attribute or a function)"
        )

    def _picked(self, returned: Any) -> Any:
        output = self.output
        if callable(output):
            return output(returned)
        if isinstance(output, str) and hasattr(returned, output):
            return getattr(returned, output)
        try:
            return returned[output]
        except (LookupError, TypeError):
            kind = type(returned).__name__
            raise BenchError(
                f"output={output!r}: the network returns a {kind} without it"
            ) from None


def adapt(network: nn.Module, output: Output) -> None:
    """Make a network take one value and return its logits, by hooks on it."""
    try:
        signature = inspect.signature(network.forward)
    except (TypeError, ValueError):
        signature = inspect.signature(lambda *args, **kwargs: None)
    network.register_forward_pre_hook(Unpack(signature), with_kwargs=True)
    network.register_forward_hook(Select(output))
