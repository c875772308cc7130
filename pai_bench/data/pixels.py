"""Normalisation of whole batches, on the device: from raw pixels to inputs of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from pai_bench.config.schema import Data, Recipe

Statistics = tuple[Tensor, Tensor]
"""Shift, subtracted from raw pixels, and factor, multiplied with them: broadcastable."""


class Pixels:
    """Normalises raw pixels (uint8, N x C x H x W) to float32, as the recipe specifies.

    - `channels`: (pixel / 255 - mean) / std with the mean and deviation of each channel;
    - `image`: with those of the image itself over all its pixels and channels; the deviation is at
      least 1 / sqrt(number of values), so that an image of one colour becomes zeros (TensorFlow's
      per_image_standardization; RigL, section 4.3);
    - `none`: pixel / 255.

    Symbols of text are not changed.
    """

    def __init__(self, settings: Data, recipe: Recipe) -> None:
        self.by_image = recipe.normalise == "image"
        mean, std = recipe.mean or settings.mean, recipe.std or settings.std
        if recipe.normalise == "none":
            mean, std = (0.0,), (1.0,)
        self._constants = (
            torch.tensor(mean).view(-1, 1, 1) * 255,
            1 / (torch.tensor(std).view(-1, 1, 1) * 255),
        )
        if settings.text is not None:
            self._constants = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)

    def to(self, device: torch.device) -> Pixels:
        """Move the constants to `device`."""
        self._constants = self._constants[0].to(device), self._constants[1].to(device)
        return self

    def statistics(self, raw: Tensor) -> Statistics:
        """Return shift and factor for these images: constants, or one pair per image (N, 1, 1, 1).

        Statistics of images are those before cropping.
        """
        if not self.by_image:
            return self._constants
        values = raw[0].numel()
        means, factors = [], []
        for images in raw.split(2000):  # A whole data set as floats may exceed the memory.
            flat = images.flatten(1).float()
            means.append(flat.mean(1))
            factors.append(1 / flat.std(1, correction=0).clamp(min=values**-0.5))
        return torch.cat(means)[:, None, None, None], torch.cat(factors)[:, None, None, None]

    def __call__(self, raw: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Normalise raw pixels, by `statistics` if given, else by their own."""
        shift, factor = statistics or self.statistics(raw)
        return raw.float().sub_(shift).mul_(factor)
