"""Normalisation: by channel, by image, or to 0..1; checked in float64."""

import pytest
import torch

from pai_bench.config.schema import Data, Recipe
from pai_bench.data.pixels import Pixels

DATA = Data(classes=2, shape=(3, 5, 4), images=(1, 1), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
RAW = torch.randint(
    0, 256, (4500, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def pixels(**recipe):
    return Pixels(DATA, Recipe(epochs=1, batch_size=1, lr=1.0, **recipe))


def channels(mean, std):
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (mean, std))
    return (RAW.double() / 255 - mean) / std


def close(found, expected):
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, atol=2e-5)


def test_channels_are_normalised_by_the_statistics_of_the_data_set():
    close(pixels()(RAW), channels(DATA.mean, DATA.std))


def test_statistics_of_the_recipe_go_before_those_of_the_data_set():
    mean, std = (0.3, 0.4, 0.5), (0.2, 0.1, 0.3)
    close(pixels(mean=mean, std=std)(RAW), channels(mean, std))


def test_pixels_may_stay_between_zero_and_one():
    close(pixels(normalise="none")(RAW), RAW.double() / 255)


def test_an_image_is_normalised_by_its_own_mean_and_deviation():
    flat = RAW.double().flatten(1)
    mean, std = flat.mean(1), flat.std(1, correction=0)
    expected = (RAW.double() - mean.view(-1, 1, 1, 1)) / std.view(-1, 1, 1, 1)
    close(pixels(normalise="image")(RAW), expected)


def test_an_image_of_one_colour_becomes_zeros():
    assert (pixels(normalise="image")(torch.full((2, 3, 5, 4), 77, dtype=torch.uint8)) == 0).all()


def test_the_deviation_of_an_image_has_a_floor():
    raw = torch.zeros(1, 1, 100, 100, dtype=torch.uint8)
    raw[0, 0, 0, 0] = 1
    floor = (100 * 100) ** -0.5
    assert raw.double().std(correction=0) == pytest.approx(floor, rel=1e-3)
    raw = raw.expand(1, 3, 100, 100).contiguous()
    raw[0, 1:] = 0
    found = pixels(normalise="image")(raw)
    assert float(found.max()) == pytest.approx((1 - 1 / 30000) / (3 * 100 * 100) ** -0.5, rel=1e-3)


def test_statistics_that_are_given_are_used():
    own = pixels(normalise="image")
    shift, factor = own.statistics(RAW)
    part = RAW[:7, :, 1:3]
    expected = own(RAW)[:7, :, 1:3]
    assert torch.equal(own(part, (shift[:7], factor[:7])), expected)
