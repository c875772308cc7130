"""Augmentation of whole batches, on the device, with draws from a CPU stream."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def crop_flip(images: Tensor, generator: Generator, pad: int = 4) -> Tensor:
    """Crop each image at random out of its zero-padded self, then mirror every second one.

    `images` is (N, C, H, W) and so is the result: RandomCrop(H, padding=4) and
    RandomHorizontalFlip of the CIFAR recipes, with one gather instead of a loop over images.
    Zeros are padded to what is passed in: pass raw pixels, as the recipes do.
    """
    count, channels, height, width = images.shape
    device = images.device
    down = torch.randint(0, 2 * pad + 1, (count, 1), generator=generator).to(device)
    right = torch.randint(0, 2 * pad + 1, (count, 1), generator=generator).to(device)
    flip = torch.rand(count, 1, generator=generator).to(device) < 0.5
    columns = torch.arange(width, device=device).expand(count, width)
    columns = torch.where(flip, width - 1 - columns, columns) + right
    rows = torch.arange(height, device=device) + down
    padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    first = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return padded[first, channel, rows[:, None, :, None], columns[:, None, None, :]]
