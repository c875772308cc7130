"""A small data set on the device: one uint8 tensor per split, and batches made of its images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pai_bench.config.schema import Data, Recipe
from pai_bench.data.augment import crop_flip, draw_crops, pad, resized_crop_flip
from pai_bench.data.holdout import split
from pai_bench.data.locations import redact_source
from pai_bench.data.pixels import Pixels, Statistics
from pai_bench.data.sources import Arrays
from pai_bench.data.text import check_recipe

Batch = tuple[Tensor, Tensor]
CROPS = ("crop-flip", "mirror-crop-flip")


class ImageTensors:
    """The images of a data set as a recipe specifies them, shared by a bundle.

    Training images are padded once, if the recipe crops them.
    """

    def __init__(self, arrays: Arrays, settings: Data, recipe: Recipe) -> None:
        if settings.text is not None:
            check_recipe(recipe)
        self.recipe, self.classes = recipe, settings.classes
        self.arrays, self.pixels = arrays, Pixels(settings, recipe)
        self.tensors = _splits(arrays, recipe)
        self.statistics: Statistics | None = None
        if self.pixels.by_image:
            self.statistics = self.pixels.statistics(self.tensors["train_images"])
        if recipe.augment in CROPS:
            mirror = recipe.augment == "mirror-crop-flip"
            self.tensors["train_images"] = pad(self.tensors["train_images"], mirror=mirror)
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Move all images to `device`."""
        self.device = device
        self.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        if self.statistics is not None:
            self.statistics = self.statistics[0].to(device), self.statistics[1].to(device)
        self.pixels.to(device)

    def provenance(self) -> dict[str, Any]:
        """Digest and source of the data, as stored with a result."""
        return {"digest": self.arrays.digest, "source": redact_source(self.arrays.source)}

    @property
    def crops(self) -> bool:
        """Whether crops of fixed size are all that the recipe draws: they can be drawn ahead."""
        return self.recipe.augment in CROPS

    def batch(self, index: Tensor, augment: torch.Generator | Tensor) -> Batch:
        """Make the training batch of the images at `index`, augmented as the recipe says.

        Args:
            index: Images (B,), on the device.
            augment: Generator to draw the augmentation from; or crops that were drawn for these
                images, on the device.
        """
        statistics = self.statistics and (self.statistics[0][index], self.statistics[1][index])
        raw = self._augmented(index, augment)
        return self.pixels(raw, statistics), self.tensors["train_labels"][index].long()

    def _augmented(self, index: Tensor, augment: torch.Generator | Tensor) -> Tensor:
        images, recipe = self.tensors["train_images"], self.recipe
        if self.crops:
            if isinstance(augment, torch.Generator):
                augment = draw_crops(len(index), augment).to(self.device)
            return crop_flip(images, index, augment)
        assert isinstance(augment, torch.Generator)
        if recipe.augment == "resized-crop-flip":
            return resized_crop_flip(images[index], augment, recipe.crop_scale, recipe.crop_ratio)
        return images[index]


def _splits(arrays: Arrays, recipe: Recipe) -> dict[str, Tensor]:
    """Tensors of the images to train on and to evaluate on, without overlap."""
    tensors = arrays.tensors()
    if not recipe.holdout:
        return tensors
    images, labels = tensors["train_images"], tensors["train_labels"]
    train, validation = split(labels, recipe.holdout)
    tensors |= {"train_images": images[train], "train_labels": labels[train]}
    if recipe.evaluate == "validation":
        tensors |= {"test_images": images[validation], "test_labels": labels[validation]}
    return tensors
