"""What weights of recurrent and attention modules of torch reach, and what they cost.

Signals do not just add up in their gates and scores, so sums of what outputs depend on stand for
them (`account.effective`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Reach = Callable[[Tensor], Tensor]
"""Binarises a signal."""
GATES = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}
"""Blocks of rows of each matrix, one for each gate."""


def reached_by(module: nn.Module, reach: Reach) -> Callable[..., Any] | None:
    """Return what stands for the forward pass of a module of torch; None for another module."""
    if type(module) in GATES:
        return lambda inputs, _hidden=None: _of_recurrent(module, inputs, reach)
    if type(module) is nn.MultiheadAttention:
        return lambda query, key, value, *_, **__: _of_attention(module, query, key, value, reach)
    return None


def _of_recurrent(module: Any, inputs: Tensor, reach: Reach) -> tuple[Tensor, Any]:
    """Outputs and last states, with the signature of recurrent modules of torch."""
    batched = inputs if inputs.dim() == 3 else inputs.unsqueeze(0 if module.batch_first else 1)
    signal = batched.transpose(0, 1) if module.batch_first else batched
    last = []
    for layer in range(module.num_layers):
        directions = [_Direction(module, layer, reverse) for reverse in _directions(module)]
        outputs = [direction.run(signal, reach) for direction in directions]
        ends = zip(directions, outputs, strict=True)
        last += [each[0] if direction.reverse else each[-1] for direction, each in ends]
        signal = torch.cat(outputs, -1)
    result = signal.transpose(0, 1) if module.batch_first else signal
    states = torch.stack(last)
    hidden = (states, states) if isinstance(module, nn.LSTM) else states
    return (result if inputs.dim() == 3 else result.squeeze(0 if module.batch_first else 1)), hidden


def _directions(module: Any) -> tuple[bool, ...]:
    return (False, True) if module.bidirectional else (False,)


class _Direction:
    """One layer of a recurrent module, read in one direction."""

    def __init__(self, module: Any, layer: int, reverse: bool) -> None:
        self.reverse = reverse
        suffix = f"l{layer}{'_reverse' * reverse}"
        gates = GATES[type(module)]
        self._inward, self._across = (
            getattr(module, f"weight_{kind}_{suffix}").unflatten(0, (gates, -1)).sum(0)
            for kind in ("ih", "hh")
        )
        self._out = getattr(module, f"weight_hr_{suffix}") if module.proj_size else None
        self._remembers = gates > 1

    def run(self, signal: Tensor, reach: Reach) -> Tensor:
        """Outputs (L, N, units) from inputs (L, N, units)."""
        cell = signal.new_zeros(signal.shape[1], len(self._inward))
        hidden = signal.new_zeros(signal.shape[1], self._across.shape[1])
        outputs = []
        for step in signal.flip(0) if self.reverse else signal:
            arriving = step @ self._inward.T + hidden @ self._across.T
            cell = reach(arriving + cell if self._remembers else arriving)
            hidden = cell if self._out is None else reach(cell @ self._out.T)
            outputs.append(hidden)
        return torch.stack(outputs[::-1] if self.reverse else outputs)


def _of_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, reach: Reach
) -> tuple[Tensor, None]:
    """Outputs of an attention module, and no weights.

    A unit of the outputs depends on its values at all positions and, where there are any, on the
    scores of its head, which depend on queries where there are keys, and the other way round.
    """
    queries, keys, values = (
        reach(signal @ weight.T)
        for signal, weight in zip((query, key, value), _in_projections(module), strict=True)
    )
    positions = 1 if module.batch_first else 0
    values = reach(values.sum(positions, keepdim=True))
    products = queries * keys.sum(positions, keepdim=True)
    of_heads = products.unflatten(-1, (module.num_heads, -1))
    scores = reach(of_heads.sum(-1, keepdim=True)).expand_as(of_heads).flatten(-2)
    mixed = reach(values + values * scores)
    return reach(mixed @ module.out_proj.weight.T), None


def _in_projections(module: Any) -> tuple[Tensor, ...]:
    if module.in_proj_weight is not None:
        return tuple(module.in_proj_weight.chunk(3))
    return module.q_proj_weight, module.k_proj_weight, module.v_proj_weight


def uses(module: nn.Module, inputs: tuple[Any, ...]) -> Iterator[tuple[str, int]]:
    """Names of the matrices of a module of torch, and at how many positions each is used.

    Args:
        module: Any module; of others than recurrent ones and attention nothing is known.
        inputs: Arguments of its forward pass, of one sequence, in their order.
    """
    if type(module) in GATES:
        steps = _places(inputs[0])
        yield from ((n, steps) for n, p in module.named_parameters() if p.dim() == 2)
    elif type(module) is nn.MultiheadAttention:
        places = [_places(signal) for signal in inputs[:3]]
        if module.in_proj_weight is not None:
            yield "in_proj_weight", sum(places) // 3
        else:
            yield from zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), places, strict=True)
        yield "out_proj.weight", places[0]


def _places(signal: Tensor) -> int:
    return signal.numel() // signal.shape[-1]
