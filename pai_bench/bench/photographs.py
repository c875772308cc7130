"""Decoding speed of photographs: images per second of one thread, plain Pillow and ours."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pai_bench.bench import interleaved
from pai_bench.config.schema import Benchmark, Data, Recipe
from pai_bench.data import photographs
from pai_bench.data.locations import mirror_folder
from pai_bench.data.photographs import Crop
from pai_bench.data.pixels import Pixels
from pai_bench.data.shards import Shards

DATA, RECIPE = "imagenet-1k", "ntk-sap-imagenet"
BATCH = 32
MOST = {"train": 160, "validation": 48}
SYNTHETIC = 64
PLAIN, OURS = "plain", "ours"


@dataclass(frozen=True)
class Views:
    """Both pipelines from the bytes of a file to pixels, with the same random numbers."""

    data: Data
    recipe: Recipe
    training: bool

    def plain(self, file: bytes, number: int) -> Image.Image:
        """Decode at full size, convert, crop and resize with Pillow."""
        image = Image.open(io.BytesIO(file)).convert("RGB")
        return self._cropped(image, number) if self.training else self._centre(image)

    def ours(self, file: bytes, number: int) -> Tensor:
        """Decode as the data loader's workers do."""
        if not self.training:
            return photographs.evaluation_pixels(file, self.data.shape)
        draws = photographs.uniforms(0, number)
        return photographs.training_pixels(file, self.data.shape, self._crop, draws)

    @property
    def _crop(self) -> Crop:
        return Crop(self.recipe.crop_scale, self.recipe.crop_ratio)

    def _cropped(self, image: Image.Image, number: int) -> Image.Image:
        draws = photographs.uniforms(0, number)
        box = photographs.random_box(image.width, image.height, self._crop, draws[1:])
        size = self.data.shape[2], self.data.shape[1]
        image = image.crop(box).resize(size, Image.Resampling.BILINEAR)
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draws[0] < 0.5 else image

    def _centre(self, image: Image.Image) -> Image.Image:
        _, height, width = self.data.shape
        down, across = photographs.evaluation_size(image.width, image.height, (height, width))
        image = image.resize((across, down), Image.Resampling.BILINEAR)
        left, top = round((across - width) / 2), round((down - height) / 2)
        return image.crop((left, top, left + width, top + height))


def measure_photographs(console: Console, settings: Benchmark) -> None:
    """Print images per second of the calling thread, for training and evaluation batches.

    Both end with what a training step needs, a normalised float32 batch. Their timings are
    interleaved; ratios are taken within each turn.
    """
    data, recipe = settings.data[DATA], settings.recipes[RECIPE]
    files, source = _files(data, settings.mirror)
    table = Table(title=f"{len(files)} photographs, {source}", title_justify="left")
    for heading in (
        "batches",
        "plain, images/s",
        "ours, images/s",
        "ratio",
        "min",
        "max",
        "differ",
    ):
        table.add_column(heading, justify="left" if heading == "batches" else "right")
    for name in ("training", "evaluation"):
        table.add_row(name, *_measured(Views(data, recipe, name == "training"), files))
    console.print(table)
    console.print(
        f"decoder: {photographs.DECODER}; differ: mean absolute difference of pixels (0 to 255) "
        "with the same crops",
        highlight=False,
    )


def _measured(views: Views, files: Sequence[bytes]) -> list[str]:
    pixels = Pixels(views.data, views.recipe)
    turns = interleaved.take(
        {
            PLAIN: lambda: _seconds(lambda batch: _plain_batch(views, batch), files),
            OURS: lambda: _seconds(lambda batch: pixels(_our_batch(views, batch)), files),
        }
    )
    speeds = [len(files) / statistics.median(turn[way] for turn in turns) for way in (PLAIN, OURS)]
    ratios = interleaved.ratios(turns, PLAIN, OURS)
    figures = statistics.median(ratios), min(ratios), max(ratios)
    rounded = [f"{speed:.0f}" for speed in speeds] + [f"{ratio:.2f}" for ratio in figures]
    return [*rounded, f"{_difference(views, files):.3f}"]


def _seconds(way: Callable[[Sequence[bytes]], object], files: Sequence[bytes]) -> float:
    started = time.perf_counter()
    for first in range(0, len(files), BATCH):
        way(files[first : first + BATCH])
    return time.perf_counter() - started


def _plain_batch(views: Views, files: Sequence[bytes]) -> Tensor:
    """Normalise image by image, then stack."""
    mean = torch.tensor(views.data.mean).view(-1, 1, 1)
    std = torch.tensor(views.data.std).view(-1, 1, 1)
    images = []
    for number, file in enumerate(files):
        tensor = torch.from_numpy(np.array(views.plain(file, number)))
        floats = tensor.permute(2, 0, 1).contiguous().float().div_(255)
        images.append(floats.sub_(mean).div_(std))
    return torch.stack(images)


def _our_batch(views: Views, files: Sequence[bytes]) -> Tensor:
    """Copy pixels into a batch of uint8, as the workers do."""
    batch = torch.empty((len(files), *views.data.shape), dtype=torch.uint8)
    for number, file in enumerate(files):
        batch[number] = views.ours(file, number)
    return batch


def _difference(views: Views, files: Sequence[bytes]) -> float:
    """Mean absolute difference of the pixels of both pipelines, for the same crops."""
    differences = [
        np.abs(np.asarray(views.plain(f, n), np.int16) - views.ours(f, n).permute(1, 2, 0).numpy())
        for n, f in enumerate(files)
    ]
    return float(np.mean(differences))


def _files(data: Data, mirror: str | None) -> tuple[list[bytes], str]:
    """Photographs of the first row groups in the mirror; synthetic ones without a mirror."""
    root = mirror_folder(mirror)
    folder = root / (data.folder or DATA) if root else None
    files: list[bytes] = []
    for split, most in MOST.items():
        for path in sorted(folder.rglob(f"{split}-*.parquet"))[:1] if folder else ():
            group = Shards([path], data).read(0)
            images = (group.bytes_of(row) for row in range(min(most, len(group.labels))))
            files += [image for image in images if image is not None]
    if files:
        return files, f"{data.hub} in {folder}"
    return [
        _synthetic(number) for number in range(SYNTHETIC)
    ], "made of noise: no mirror holds ImageNet"


def _synthetic(number: int) -> bytes:
    """A JPEG file of 500 x 375 pixels of noise on several scales, of ImageNet's usual size."""
    random = np.random.default_rng(number)
    image = np.full((375, 500, 3), 128, np.float32)
    for cells, strength in ((4, 90), (16, 50), (64, 25), (250, 12)):
        for channel in range(3):
            noise = random.uniform(-strength, strength, (cells, cells)).astype(np.float32)
            smooth = Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC)
            image[:, :, channel] += np.asarray(smooth)
    buffer = io.BytesIO()
    picture = Image.fromarray(image.clip(0, 255).astype(np.uint8))
    picture.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
