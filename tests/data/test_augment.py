"""Augmentation of a batch at once equals augmentation image by image."""

import pytest
import torch

from pai_bench.data.augment import crop_flip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_by_one(images, generator, pad):
    """Pad, crop, then mirror each image in turn, with the draws of `crop_flip`."""
    count, channels, height, width = images.shape
    down = torch.randint(0, 2 * pad + 1, (count, 1), generator=generator).flatten().tolist()
    right = torch.randint(0, 2 * pad + 1, (count, 1), generator=generator).flatten().tolist()
    flip = (torch.rand(count, 1, generator=generator) < 0.5).flatten().tolist()
    results = []
    for image, y, x, mirrored in zip(images, down, right, flip, strict=True):
        padded = torch.zeros(channels, height + 2 * pad, width + 2 * pad, dtype=images.dtype)
        padded[:, pad : pad + height, pad : pad + width] = image
        crop = padded[:, y : y + height, x : x + width]
        results.append(crop.flip(2) if mirrored else crop)
    return torch.stack(results)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (64, 3, 8, 8), (33, 1, 7, 10), (1, 1, 1, 1)])
@pytest.mark.parametrize("pad", [4, 1, 0])
def test_a_batch_is_cropped_and_mirrored_as_its_images_are(shape, dtype, pad):
    images = torch.randint(1, 256, shape, generator=generator(1)).to(dtype)
    found = crop_flip(images, generator(2), pad)
    assert found.shape == images.shape
    assert found.dtype == dtype
    assert torch.equal(found, one_by_one(images, generator(2), pad))


def test_every_offset_and_both_mirrorings_occur():
    size = 9
    images = torch.arange(1.0, size * size + 1).view(1, 1, size, size).expand(4000, 1, size, size)
    centres = crop_flip(images, generator())[:, 0, 4, 4].long()
    assert len(centres.unique()) == 81
    mirrored = crop_flip(images, generator(), pad=0)[:, 0, 0, 0] == size
    assert 0.45 < mirrored.float().mean() < 0.55


def test_the_images_given_are_left_as_they_were():
    images = torch.randint(0, 256, (16, 3, 8, 8), generator=generator(1), dtype=torch.uint8)
    before = images.clone()
    crop_flip(images, generator())
    assert torch.equal(images, before)
