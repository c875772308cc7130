"""Named random streams: what one part of a cell draws never shifts what another part draws."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
