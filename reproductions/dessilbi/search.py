"""The search: one training with DessiLBI, and a record of its path."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pai_bench import Masks
from pai_bench.config.schema import Recipe
from pai_bench.reproductions.dessilbi import ranking
from pai_bench.reproductions.dessilbi.optimizer import DessiLBI
from pai_bench.sparsity.masks import layers, weight_name
from pai_bench.sparsity.units import per_filter
from pai_bench.store.search_cache import Search
from pai_bench.training.loop import Passes, train
from pai_bench.training.search_checkpoint import SearchCheckpoint


class Settings(Protocol):
    """What a search depends on besides network and data; see the method's `Hyper`."""

    search_epochs: int
    search_lr: float
    search_decay_every: int
    kappa: float
    nu: float
    lam: float
    fc_lam: float
    prox: ranking.Prox
    momentum: float
    nesterov: bool
    weight_decay: float
    wd_rule: str
    coupling_in_momentum: bool


OPTIONS = (
    "kappa", "nu", "lam", "fc_lam", "prox", "momentum", "nesterov", "weight_decay", "wd_rule",
    "coupling_in_momentum",
)  # fmt: skip
"""Settings of the optimizer."""
SETTINGS = ("search_epochs", "search_lr", "search_decay_every", *OPTIONS)
"""Settings that identify a search in the search cache."""


def search(
    network: nn.Module,
    recipe: Recipe,
    batches: Passes,
    settings: Settings,
    checkpoint: SearchCheckpoint,
) -> Search:
    """Train a copy of `network`, with every conv and linear weight split, and record its path.

    Half-precision networks are searched in single precision. The search resumes from `checkpoint`.

    Returns:
        A search whose state holds, by weight name: `dual` (Z at the end), `first_step` and `norms`
        (epochs + 1, outputs), of output filters or rows before the first epoch and after each;
        `supports`, for each epoch where Gamma is not 0, packed into bits; and the state_dict of
        the trained `network`.
    """
    searched = copy.deepcopy(network)
    if next(searched.parameters()).element_size() < 4:
        searched.float()
    split = [weight_name(name) for name, _ in layers(searched)]
    optimizer = DessiLBI(
        searched.named_parameters(),
        settings.search_lr,
        split=split,
        **{key: getattr(settings, key) for key in OPTIONS},
    )
    path = _Path(searched, optimizer, len(batches))
    checkpoint.add("path", path)
    effort = train(
        searched, Masks.ones(searched), _recipe(recipe, settings), batches, path.record, optimizer,
        checkpoint=checkpoint,
    )  # fmt: skip
    return Search(path.state(), effort.flops)


def _recipe(recipe: Recipe, settings: Settings) -> Recipe:
    """The cell's recipe with the epochs and learning rates of the search."""
    every, epochs = settings.search_decay_every, settings.search_epochs
    milestones = tuple(range(every, epochs, every)) if every else ()
    changes = {
        "epochs": epochs,
        "steps": None,
        "lr": settings.search_lr,
        "schedule": "step" if milestones else "constant",
        "schedule_unit": "epoch",
        "milestones": milestones,
        "gamma": 0.1,
        "warmup": 0.0,
        "label_smoothing": 0.0,
    }
    return recipe.model_copy(update=changes)


class _Path:
    """Records support and norms after each epoch."""

    def __init__(self, network: nn.Module, optimizer: DessiLBI, steps_per_epoch: int) -> None:
        self._network, self._optimizer = network, optimizer
        self._steps = steps_per_epoch
        self._supports: list[dict[str, Tensor]] = []
        self._norms = [self._norms_now()]

    def record(self, step: int) -> None:
        """Record support and norms, if `step` is the last of an epoch."""
        if step % self._steps == 0:
            support = self._optimizer.support()
            self._supports.append({name: packed(mask) for name, mask in support.items()})
            self._norms.append(self._norms_now())

    def state_dict(self) -> dict[str, Any]:
        """What has been recorded so far."""
        return {"supports": self._supports, "norms": self._norms}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on recording."""
        self._supports, self._norms = state["supports"], state["norms"]

    def state(self) -> dict[str, Any]:
        """Return the state of the search, on the CPU."""
        weights = dict(self._network.named_parameters())
        names = list(self._norms[0])
        states = {name: self._optimizer.state[weights[name]] for name in names}
        return {
            "dual": {name: state["z"].cpu() for name, state in states.items()},
            "first_step": {name: state["first_step"].cpu() for name, state in states.items()},
            "norms": {name: torch.stack([norms[name] for norms in self._norms]) for name in names},
            "supports": self._supports,
            "network": {n: tensor.cpu() for n, tensor in self._network.state_dict().items()},
        }

    def _norms_now(self) -> dict[str, Tensor]:
        weights = dict(self._network.named_parameters())
        return {
            name: per_filter(weights[name].detach()).flatten().cpu()
            for name in self._optimizer.support()
        }


def packed(mask: Tensor) -> Tensor:
    """Pack a mask, eight elements in each byte.

    >>> packed(torch.tensor([True, False, True])).tolist()
    [160]
    """
    return torch.from_numpy(np.packbits(mask.flatten().cpu().numpy()))


def unpacked(bits: Tensor, shape: torch.Size) -> Tensor:
    """Unpack a mask of this shape.

    >>> unpacked(torch.tensor([160], dtype=torch.uint8), torch.Size([3])).tolist()
    [True, False, True]
    """
    flat = np.unpackbits(bits.numpy(), count=shape.numel())
    return torch.from_numpy(flat).bool().view(shape)
