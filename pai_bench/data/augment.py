"""Augmentation of whole batches on the device, with random numbers from a CPU generator."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample

PAD = 4
"""Padding in pixels before the random crop of the CIFAR recipes."""
ATTEMPTS = 10
"""Draws of a random resized crop before the fallback, where none fits into the image."""


def pad(images: Tensor, by: int = PAD, mirror: bool = False) -> Tensor:
    """Pad each image (N, C, H, W) by `by` pixels: zeros, or the image mirrored at its edge.

    Mirroring repeats the edge itself (TensorFlow's SYMMETRIC), which torch does not offer.

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
    """Positions -by .. size + by - 1, those outside 0 .. size - 1 reflected into it."""
    index = torch.arange(-by, size + by)
    index = torch.where(index < 0, -index - 1, index)
    return torch.where(index >= size, 2 * size - 1 - index, index)


def draw_crops(count: int, generator: Generator, by: int = PAD) -> Tensor:
    """Draw random crops, each flipped with probability 1/2.

    RandomCrop(H, padding=by) and RandomHorizontalFlip of the CIFAR recipes.

    Args:
        count: Number of images.
        generator: Generator on the CPU.
        by: Padding in pixels.

    Returns:
        Integers (count, 3): first row, first column, and 1 where the crop is flipped, else 0.
    """
    down = torch.randint(0, 2 * by + 1, (count, 1), generator=generator)
    right = torch.randint(0, 2 * by + 1, (count, 1), generator=generator)
    flip = torch.rand(count, 1, generator=generator) < 0.5
    return torch.cat((down, right, flip.long()), 1)


def crop_flip(padded: Tensor, index: Tensor, crops: Tensor, by: int = PAD) -> Tensor:
    """Crop and flip the images at `index`.

    Rows are copied whole, then columns are gathered from them, flipped or not: two passes over a
    batch, none over single images.

    Args:
        padded: All images (N, C, H + 2 by, W + 2 by), padded already.
        index: Images of the batch (B,).
        crops: What `draw_crops` drew for them (B, 3), on the device of the images.
        by: Padding in pixels.

    Returns:
        The batch (B, C, H, W).
    """
    count, device = len(index), padded.device
    down, right, flip = crops[:, :1], crops[:, 1:2], crops[:, 2:] > 0
    channels, tall, wide = padded.shape[1:]
    height, width = tall - 2 * by, wide - 2 * by
    planes = index[:, None] * channels + torch.arange(channels, device=device)
    rows = planes[:, :, None] * tall + (down + torch.arange(height, device=device))[:, None]
    cropped_rows = padded.view(-1, wide).index_select(0, rows.flatten())
    columns = torch.arange(width, device=device).expand(count, width)
    columns = torch.where(flip, width - 1 - columns, columns) + right
    columns = columns[:, None, None].expand(count, channels, height, width)
    return cropped_rows.view(count, channels, height, wide).gather(3, columns)


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
    top, left, tall, wide = crops(count, height, width, generator, scale, ratio)
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
    """Image coordinates of each of `size` pixels of a resized crop: (N, size).

    Clamped to the centres of the crop's own outermost pixels.
    """
    offset = (torch.arange(size) + 0.5) * (length / size)[:, None] - 0.5
    return start[:, None] + offset.clamp(min=0).minimum(length[:, None] - 1)


def crops(
    count: int,
    height: int,
    width: int,
    generator: Generator,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw top, left, height and width of `count` crops, each (N,): the first draw that fits.

    Where none fits, the largest central crop with an allowed ratio.
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
    position = torch.rand(2, count, generator=generator)
    top = torch.where(none, (height - tall) // 2, (position[0] * (height - tall + 1)).floor())
    left = torch.where(none, (width - wide) // 2, (position[1] * (width - wide + 1)).floor())
    return top, left, tall, wide


def _uniform(shape: tuple[int, int], low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)
