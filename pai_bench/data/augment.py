"""Augmentation of whole batches, on the device, with draws from a CPU stream."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample

PAD = 4
"""Pixels that the CIFAR recipes put around an image before they crop it."""
ATTEMPTS = 10
"""How often a random resized crop is drawn anew when it does not fit into the image."""


def pad(images: Tensor, by: int = PAD, mirror: bool = False) -> Tensor:
    """Put `by` pixels around each image (N, C, H, W): zeros, or the image mirrored at its edge.

    The mirror repeats the edge itself (TensorFlow's SYMMETRIC), which torch has no name for.

    >>> pad(torch.tensor([[[[1, 2], [3, 4]]]]), 1, mirror=True)[0, 0]
    tensor([[1, 1, 2, 2],
            [1, 1, 2, 2],
            [3, 3, 4, 4],
            [3, 3, 4, 4]])
    """
    if not mirror:
        return torch.nn.functional.pad(images, (by, by, by, by))
    rows, columns = (_mirrored(size, by).to(images.device) for size in images.shape[2:])
    return images[:, :, rows][:, :, :, columns].contiguous()


def _mirrored(size: int, by: int) -> Tensor:
    """Positions -by .. size + by - 1, those outside 0 .. size - 1 folded back inside."""
    at = torch.arange(-by, size + by)
    at = torch.where(at < 0, -at - 1, at)
    return torch.where(at >= size, 2 * size - 1 - at, at)


def crop_flip(padded: Tensor, index: Tensor, generator: Generator, by: int = PAD) -> Tensor:
    """Crop the images at `index` at random, then mirror every second one.

    `padded` (N, C, H + 2 by, W + 2 by) holds all images, padded once; the result is
    (len(index), C, H, W): RandomCrop(H, padding=by) and RandomHorizontalFlip of the CIFAR recipes.
    Rows are copied whole, then columns are picked from them, mirrored or not: two passes over a
    batch, none over single images.
    """
    count, device = len(index), padded.device
    down = torch.randint(0, 2 * by + 1, (count, 1), generator=generator).to(device)
    right = torch.randint(0, 2 * by + 1, (count, 1), generator=generator).to(device)
    flip = torch.rand(count, 1, generator=generator).to(device) < 0.5
    channels, tall, wide = padded.shape[1:]
    height, width = tall - 2 * by, wide - 2 * by
    planes = index[:, None] * channels + torch.arange(channels, device=device)
    rows = planes[:, :, None] * tall + (down + torch.arange(height, device=device))[:, None]
    chosen = padded.view(-1, wide).index_select(0, rows.flatten())
    columns = torch.arange(width, device=device).expand(count, width)
    columns = torch.where(flip, width - 1 - columns, columns) + right
    picked = columns[:, None, None].expand(count, channels, height, width)
    return chosen.view(count, channels, height, wide).gather(3, picked)


def resized_crop_flip(
    images: Tensor,
    generator: Generator,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Tensor:
    """Crop a part of each image at random, resize it to the whole, mirror every second one.

    `images` are uint8 (N, C, H, W), and so is the result. `scale` is the range of the crop's area
    over the image's, `ratio` that of its width over its height, as in RandomResizedCrop. Resizing
    is bilinear and reads no pixel outside the crop; a part is never larger than the whole, so
    that no antialiasing is called for.
    """
    count, _, height, width = images.shape
    top, left, tall, wide = _crops(count, height, width, generator, scale, ratio)
    flip = torch.rand(count, generator=generator) < 0.5
    rows = _sources(top, tall, height)
    columns = _sources(left, wide, width)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    # grid_sample counts from -1 to 1 over the outer edges of the image, columns first.
    grid = torch.stack(
        (
            ((2 * columns + 1) / width - 1)[:, None, :].expand(-1, height, -1),
            ((2 * rows + 1) / height - 1)[:, :, None].expand(-1, -1, width),
        ),
        dim=-1,
    ).to(images.device)
    resized = grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return resized.round_().to(torch.uint8)


def _sources(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where each of `size` pixels of a resized crop comes from, in pixels of the image: (N, size).

    Clamped to the centres of the crop's own outermost pixels.
    """
    at = (torch.arange(size) + 0.5) * (length / size)[:, None] - 0.5
    return start[:, None] + at.clamp(min=0).minimum(length[:, None] - 1)


def _crops(
    count: int,
    height: int,
    width: int,
    generator: Generator,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw top, left, height and width of `count` crops, each (N,): the first attempt that fits.

    Where none fits, the largest central crop whose ratio is allowed.
    """
    area = height * width * _uniform((count, ATTEMPTS), *scale, generator)
    low, high = (math.log(bound) for bound in ratio)
    aspect = _uniform((count, ATTEMPTS), low, high, generator).exp()
    wide, tall = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
    first = fits.long().argmax(1, keepdim=True)
    none = ~fits.any(1)
    fallback = min(max(width / height, ratio[0]), ratio[1])
    wide = wide.gather(1, first)[:, 0].masked_fill(none, min(width, round(height * fallback)))
    tall = tall.gather(1, first)[:, 0].masked_fill(none, min(height, round(width / fallback)))
    place = torch.rand(2, count, generator=generator)
    top = torch.where(none, (height - tall) // 2, (place[0] * (height - tall + 1)).floor())
    left = torch.where(none, (width - wide) // 2, (place[1] * (width - wide + 1)).floor())
    return top, left, tall, wide


def _uniform(shape: tuple[int, int], low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)
