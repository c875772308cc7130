"""What all checkpoints hold: the software they were made with, and the state of random numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pai_bench.core import environment


def made_with(device: str, plugins: Sequence[Path]) -> dict[str, Any]:
    """Describe software and device; what was begun with others is not continued.

    Its result would be reproducible with neither. Plugins count as software, by the digest of their
    files.

    Args:
        device: Name of the device.
        plugins: Files with methods, networks or data sets of one's own.
    """
    software = environment.describe(device, torch.get_num_threads())
    del software["command"]
    return {**software, "plugins": [_digest(path) for path in plugins]}


def random_states() -> list[Tensor]:
    """States of torch's global generators: of the CPU, and of each GPU."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return [torch.get_rng_state(), *gpus]


def restore_random(states: Sequence[Tensor]) -> None:
    """Set torch's global generators to such states."""
    torch.set_rng_state(states[0])
    if states[1:]:
        torch.cuda.set_rng_state_all(states[1:])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
