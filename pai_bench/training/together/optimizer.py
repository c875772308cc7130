"""The optimizers of K networks and their schedules, and all as one, for the Trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pai_bench.training.optimizer import build_optimizer, build_schedule
from pai_bench.training.together.member import Member


class MemberOptimizers:
    """One optimizer for all networks but those whose method has a say in steps; their schedules.

    Optimizers update each tensor by itself, so a network does not notice which others there are.

    Args:
        members: The networks; each is shown its optimizer.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        sharing = [member for member in members if not member.has_optimizer]
        configured = [_shared(sharing)] if sharing else []
        for member in sharing:
            member.use(configured[0]["optimizer"])
        for member in members:
            if member.has_optimizer:
                configured.append(member.module.configure_optimizers())
                member.use(configured[-1]["optimizer"])
        self.all: list[torch.optim.Optimizer] = [each["optimizer"] for each in configured]
        self.shared = self.all[0] if sharing else None
        """That of the networks without one of their own."""
        self._schedules = [each["lr_scheduler"] for each in configured]

    def step_schedules(self, interval: str) -> None:
        """Step the schedules that count in `interval`: "step" or "epoch"."""
        for schedule in self._schedules:
            if schedule["interval"] == interval:
                schedule["scheduler"].step()

    def saved_schedules(self) -> list[Any]:
        """Return the state of each schedule."""
        return [schedule["scheduler"].state_dict() for schedule in self._schedules]

    def load_schedules(self, saved: Sequence[Any]) -> None:
        """Restore the state of each schedule."""
        for schedule, state in zip(self._schedules, saved, strict=True):
            schedule["scheduler"].load_state_dict(state)


def _shared(members: Sequence[Member]) -> dict[str, Any]:
    recipe, data = members[0].module.context.recipe, members[0].data
    networks = nn.ModuleList(member.module.network for member in members)
    optimizer = build_optimizer(networks, recipe)
    schedule = build_schedule(optimizer, recipe, len(data.train_dataloader()))
    return {"optimizer": optimizer, "lr_scheduler": schedule}


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
