"""Augmentation of a batch at once equals augmentation image by image."""

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from pai_bench.data.augment import crop_flip, crops, draw_crops, pad, resized_crop_flip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_by_one(images, generator, pad):
    """Pad with zeros, crop, then mirror each image in turn, with the draws of `crop_flip`."""
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


def crop(images, generator, by=4):
    drawn = draw_crops(len(images), generator, by)
    return crop_flip(pad(images, by), torch.arange(len(images)), drawn, by)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (64, 3, 8, 8), (33, 1, 7, 10), (1, 1, 1, 1)])
@pytest.mark.parametrize("by", [4, 1, 0])
def test_a_batch_is_cropped_and_mirrored_as_its_images_are(shape, dtype, by):
    images = torch.randint(1, 256, shape, generator=generator(1)).to(dtype)
    found = crop(images, generator(2), by)
    assert found.shape == images.shape
    assert found.dtype == dtype
    assert torch.equal(found, one_by_one(images, generator(2), by))


def test_only_the_chosen_images_are_cropped():
    images = torch.randint(0, 256, (20, 3, 8, 8), generator=generator(1), dtype=torch.uint8)
    chosen = torch.tensor([7, 3, 7, 19])
    found = crop_flip(pad(images), chosen, draw_crops(len(chosen), generator(2)))
    assert torch.equal(found, one_by_one(images[chosen], generator(2), 4))


def test_every_offset_and_both_mirrorings_occur():
    size = 9
    images = torch.arange(1.0, size * size + 1).view(1, 1, size, size).expand(4000, 1, size, size)
    centres = crop(images, generator())[:, 0, 4, 4].long()
    assert len(centres.unique()) == 81
    mirrored = crop(images, generator(), by=0)[:, 0, 0, 0] == size
    assert 0.45 < mirrored.float().mean() < 0.55


def test_the_images_given_are_left_as_they_were():
    images = torch.randint(0, 256, (16, 3, 8, 8), generator=generator(1), dtype=torch.uint8)
    before = images.clone()
    crop(images, generator())
    resized_crop_flip(images, generator(), (0.1, 1.0), (0.8, 1.25))
    assert torch.equal(images, before)


@pytest.mark.parametrize("by", [1, 4])
def test_a_mirrored_edge_repeats_the_edge_itself(by):
    images = torch.randint(0, 256, (2, 3, 5, 6), generator=generator(), dtype=torch.uint8)
    reference = np.pad(images.numpy(), ((0, 0), (0, 0), (by, by), (by, by)), mode="symmetric")
    assert np.array_equal(pad(images, by, mirror=True).numpy(), reference)


WHOLE = ((0.1, 1.0), (0.8, 1.25))


def test_a_resized_crop_is_that_of_pillow():
    size = 64
    smooth = torch.rand(40, 3, 9, 9, generator=generator(3))
    images = (torch.nn.functional.interpolate(smooth, (size, size), mode="bicubic") * 255).clamp(
        0, 255
    )
    images = images.to(torch.uint8)
    found = resized_crop_flip(images, generator(5), *WHOLE)
    draws = generator(5)
    boxes = crops(40, size, size, draws, *WHOLE)
    flips = torch.rand(40, generator=draws) < 0.5
    for number, (top, left, tall, wide) in enumerate(
        zip(*(b.tolist() for b in boxes), strict=True)
    ):
        picture = Picture.fromarray(images[number].permute(1, 2, 0).numpy())
        part = picture.crop((left, top, left + wide, top + tall))
        resized = torch.tensor(np.asarray(part.resize((size, size), Picture.Resampling.BILINEAR)))
        expected = resized.permute(2, 0, 1).flip(2) if flips[number] else resized.permute(2, 0, 1)
        assert (found[number].int() - expected.int()).abs().max() <= 1


def test_the_whole_image_as_its_own_crop_stays_as_it_is():
    images = torch.randint(0, 256, (64, 3, 7, 7), generator=generator(1), dtype=torch.uint8)
    found = resized_crop_flip(images, generator(), (1.0, 1.0), (1.0, 1.0))
    kept = [bool((a == b).all()) for a, b in zip(found, images, strict=True)]
    mirrored = [bool((a == b.flip(2)).all()) for a, b in zip(found, images, strict=True)]
    assert all(k or m for k, m in zip(kept, mirrored, strict=True))
    assert 10 < sum(kept) < 54


def test_crops_have_the_areas_and_ratios_that_were_asked_for():
    top, left, tall, wide = crops(20000, 64, 64, generator(), *WHOLE)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= 64).all()
    assert (left + wide <= 64).all()
    area, ratio = tall * wide / 64**2, wide / tall
    assert 0.09 < area.min() < 0.11
    assert area.max() == 1
    assert ratio.min() > 0.75
    assert ratio.max() < 1.34
    assert (ratio.log().mean()).abs() < 0.01


def test_a_crop_that_never_fits_is_the_largest_central_one():
    boxes = crops(3, 10, 40, generator(), (1.0, 1.0), (0.75, 4 / 3))
    assert [box.tolist() for box in boxes] == [[0] * 3, [13] * 3, [10] * 3, [13] * 3]
