"""Named random streams: what one part of a cell draws never shifts what another part draws."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pai_bench.core import xla


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Put the global generators of torch, NumPy and Python back as they were, afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        gpus = range(torch.cuda.device_count())
        with torch.random.fork_rng(devices=gpus), xla.unchanged_random_state():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def random_state(device: torch.device) -> dict[str, Any]:
    """State of torch's global generators that a network on `device` draws from: plain data."""
    gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"cpu": torch.get_rng_state(), "gpu": gpu, "xla": xla.random_state()}


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Let the generators go on from a `random_state`; one that it has no state of stays."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and state["gpu"] is not None:
        torch.cuda.set_rng_state(state["gpu"], device)
    if device.type == "xla":
        xla.restore(state["xla"])


@dataclass(frozen=True)
class RandomStreams:
    """The random streams of one seed: `init`, `data-order`, `augment`, `score`, `mask`, ...

    A stream depends on (seed, name) alone: not on the method, the density, or what ran before.

    >>> seeds = [RandomStreams(seed).seed_of("init") for seed in (1, 1, 2)]
    >>> seeds[0] == seeds[1] != seeds[2]
    True
    """

    seed: int

    def seed_of(self, name: str) -> int:
        """Derive the 63-bit seed of the stream called `name`."""
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def generator(self, name: str) -> torch.Generator:
        """Start the stream called `name` afresh, on the CPU so that devices agree."""
        return torch.Generator("cpu").manual_seed(self.seed_of(name))

    @contextmanager
    def as_global(self, name: str) -> Iterator[None]:
        """Let all global generators draw from `name`; put them back as they were afterwards.

        Those of NumPy and Python too: a network may draw from them in its forward pass.
        """
        seed = self.seed_of(name)
        with unchanged_random_state():
            torch.manual_seed(seed)
            xla.manual_seed(seed)
            np.random.seed(seed & 0xFFFFFFFF)
            random.seed(seed)
            yield
