"""One of the processes that train a network together: its number, and how it joins the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import distributed as dist

LOCALHOST = "127.0.0.1"
PATIENCE = timedelta(days=7)
"""How long a rank waits for another one, which may be searching: one that has died is noticed."""


@dataclass(frozen=True)
class Rank:
    """A process among `size` that train a network."""

    number: int
    size: int
    port: int
    """Where rank 0 is met."""
    host: str = LOCALHOST
    nodes: int = 1
    """Machines that the ranks are spread over, in their order, as many to each."""

    @property
    def here(self) -> int:
        """Number of ranks on this machine."""
        return self.size // self.nodes

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Join the others for the time of a `with` block; sums are made where the tensors are.

        A rank that fails stays in the group: it is the first to say why, and all are ended then.
        """
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "gloo" if device.type == "cpu" else f"cpu:gloo,{device.type}:nccl"
        dist.init_process_group(
            backend,
            init_method=f"tcp://{self.host}:{self.port}",
            rank=self.number,
            world_size=self.size,
            timeout=PATIENCE,
        )
        yield
        dist.destroy_process_group()

    def stream(self, name: str) -> str:
        """Name of the random stream that this rank draws from where the network does."""
        return f"{name}/{self.number}" if self.number else name


class Environment(LightningEnvironment):
    """What Lightning asks about the rank that it runs in: without it, it would start ranks."""

    def __init__(self, rank: Rank) -> None:
        super().__init__()
        self._rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        """True: all ranks have been started."""
        return True

    def local_rank(self) -> int:
        """Number of the rank on its machine."""
        return self._rank.number % self._rank.here

    def node_rank(self) -> int:
        """Number of its machine."""
        return self._rank.number // self._rank.here
