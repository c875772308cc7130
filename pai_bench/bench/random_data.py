"""Random data of a data set's shapes, for timings that do not depend on the pixels."""

from __future__ import annotations

from typing import Any

import torch

from pai_bench.config.schema import Data
from pai_bench.data.sources import Arrays


def random_arrays(data: Data) -> Arrays:
    """Draw random training images; the test set has one, so that training dominates the time."""
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, Any] = {}
    for split, count in (("train", data.images[0]), ("test", 1)):
        shape = (count, *data.shape)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        tensors[f"{split}_images"] = pixels
        tensors[f"{split}_labels"] = torch.randint(0, data.classes, (count,), generator=generator)
    return Arrays(**tensors)
