"""Speed of augmented CIFAR-10 batches: ours, and image by image in a DataLoader."""

from __future__ import annotations

import time
from functools import partial

import torch
from PIL import Image, ImageOps
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pai_bench.bench import interleaved
from pai_bench.bench.random_data import random_arrays
from pai_bench.config.schema import Benchmark, Data, Recipe
from pai_bench.core.rng import RandomStreams
from pai_bench.data.image_tensors import ImageTensors
from pai_bench.data.module import InMemoryData
from pai_bench.data.sources import Arrays

OURS, PLAIN = "our batches", "DataLoader, image by image"


def measure(console: Console, settings: Benchmark) -> None:
    """Print the milliseconds per batch of 128, crop, flip and normalisation included, one thread.

    Pixels are random: time does not depend on them.
    """
    data, recipe = settings.data["cifar10"], settings.recipes["ntk-sap-cifar10"]
    arrays = random_arrays(data)
    ways = {
        PLAIN: partial(_plain, arrays, data, recipe),
        OURS: partial(_ours, arrays, data, recipe),
    }
    turns = interleaved.take(ways, repeats=5)
    title = "One epoch of CIFAR-10 batches, augmented"
    interleaved.print_turns(console, title, "ms per batch", turns, OURS)


def _ours(arrays: Arrays, data: Data, recipe: Recipe) -> float:
    loader = InMemoryData(ImageTensors(arrays, data, recipe), RandomStreams(1)).train_dataloader()
    started = time.perf_counter()
    for _ in loader:
        pass
    return 1e3 * (time.perf_counter() - started) / len(loader)


class _Images(Dataset[tuple[Tensor, int]]):
    """A data set as in tutorials: each image to Pillow, pad, crop, flip, to a tensor, normalise."""

    def __init__(self, arrays: Arrays, data: Data) -> None:
        self._pixels = arrays.train_images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = arrays.train_labels.tolist()
        self._mean = torch.tensor(data.mean).view(-1, 1, 1)
        self._std = torch.tensor(data.std).view(-1, 1, 1)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        image = ImageOps.expand(Image.fromarray(self._pixels[number]), border=4, fill=0)
        down, right = (int(torch.randint(0, 9, (1,))) for _ in range(2))
        image = image.crop((right, down, right + 32, down + 32))
        if torch.rand(1) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        pixels = flat.view(32, 32, 3).permute(2, 0, 1).contiguous().float().div(255)
        return pixels.sub_(self._mean).div_(self._std), self._labels[number]


def _plain(arrays: Arrays, data: Data, recipe: Recipe) -> float:
    loader = DataLoader(_Images(arrays, data), recipe.batch_size, shuffle=True)
    started = time.perf_counter()
    for _ in loader:
        pass
    return 1e3 * (time.perf_counter() - started) / len(loader)
