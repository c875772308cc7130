"""The optimizers of K networks as one, for the Trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class BundleOptimizer(torch.optim.Optimizer):
    """Steps the optimizers of all networks where the Trainer steps its one.

    Args:
        optimizers: Those of the networks: one may serve several.
        step_all: Takes a step of every network that still trains.
    """

    def __init__(
        self, optimizers: Sequence[torch.optim.Optimizer], step_all: Callable[[], None]
    ) -> None:
        parameters: list[Tensor] = [
            parameter
            for optimizer in optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        ]
        super().__init__(parameters, {})
        self._optimizers, self._step_all = optimizers, step_all

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step of every network that still trains."""
        loss = None if closure is None else closure()
        self._step_all()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each optimizer."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self._optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of each optimizer."""
        for optimizer, state in zip(self._optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
