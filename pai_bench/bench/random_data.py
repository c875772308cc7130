"""Data of the right shape for measurements that do not depend on the pixels."""

from __future__ import annotations

from typing import Any

import torch

from pai_bench.config.schema import Data
from pai_bench.data.sources import Arrays


def random_arrays(data: Data) -> Arrays:
    """Training pixels of the right shape; the smallest test set, so that only steps are timed."""
    generator = torch.Generator().manual_seed(0)
    parts: dict[str, Any] = {}
    for split, count in (("train", data.images[0]), ("test", 1)):
        shape = (count, *data.shape)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        parts[f"{split}_images"] = pixels
        parts[f"{split}_labels"] = torch.randint(0, data.classes, (count,), generator=generator)
    return Arrays(**parts)
