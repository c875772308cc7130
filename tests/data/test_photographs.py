"""Photographs become the pixels that the papers' pipelines make of them."""

import io
import math
import os
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from scipy.stats import ks_2samp
from torch.nn.functional import interpolate

from pai_bench.data import photographs
from pai_bench.data.photographs import (
    MARGIN,
    Broken,
    Crop,
    evaluation_pixels,
    random_box,
    training_pixels,
    uniforms,
)

SHAPE = (3, 224, 224)
CROP = Crop((0.08, 1.0), (3 / 4, 4 / 3))
BILINEAR = Image.Resampling.BILINEAR


def scene(width, height, seed=0):
    """A picture with soft and with sharp edges."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    picture.paste((250, 10, 60), (width // 3, height // 3, width // 2, height // 2))
    return picture


def encode(picture, format="PNG", **options):
    written = io.BytesIO()
    picture.save(written, format, **options)
    return written.getvalue()


def jpeg(width, height, seed=0, **options):
    return encode(scene(width, height, seed), "JPEG", **{"quality": 90, **options})


def plain_training(data, draws):
    """Crop, resize with Pillow, mirror."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    box = random_box(*image.size, CROP, draws[1:])
    image = image.crop(box).resize((224, 224), BILINEAR)
    return pixels(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draws[0] < 0.5 else image)


def plain_evaluation(data):
    """torchvision's Resize(256) and CenterCrop(224) in Pillow's words."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    short = min(width, height)
    size = int(256 * width / short), int(256 * height / short)
    left, top = (round((side - 224) / 2.0) for side in size)
    return pixels(image.resize(size, BILINEAR).crop((left, top, left + 224, top + 224)))


def pixels(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def levels_apart(one, other):
    assert one.dtype == other.dtype == torch.uint8
    assert one.shape == other.shape
    return (one.int() - other.int()).abs()


@pytest.fixture(params=["as it is here", "plain Pillow"])
def any_machine(request, monkeypatch):
    """Once with what is at hand, once without simplejpeg and without AVX2."""
    if request.param == "plain Pillow":
        monkeypatch.setattr(photographs, "simplejpeg", None)
        monkeypatch.setattr(photographs, "VECTORISED", False)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (640, 640), (231, 400), (90, 70)])
@pytest.mark.usefixtures("any_machine")
def test_pixels_are_those_of_the_plain_pipeline_to_one_level(size):
    data = jpeg(*size)
    assert levels_apart(evaluation_pixels(data, SHAPE), plain_evaluation(data)).max() <= 1
    for number in range(6):
        draws = uniforms(7, number)
        ours = training_pixels(data, SHAPE, CROP, draws)
        assert levels_apart(ours, plain_training(data, draws)).max() <= 1


def test_resizing_is_antialiased_interpolation():
    picture = scene(500, 375)
    exact = interpolate(pixels(picture)[None].float(), (256, 341), mode="bilinear", antialias=True)[
        0
    ]
    ours = evaluation_pixels(encode(picture), SHAPE)
    assert (ours - exact[:, 16:240, 58:282]).abs().max() < 1.5


def test_pixels_are_those_of_the_plain_pipeline_on_real_photographs():
    folder = os.environ.get("PAI_BENCH_MIRROR")
    files = sorted(Path(folder or "none").glob("imagenet-1k/validation-*.parquet"))
    if not files:
        pytest.skip("no mirror with photographs of ImageNet")
    table = pq.ParquetFile(files[0]).read_row_group(0, columns=["image.bytes"]).slice(0, 24)
    for number, row in enumerate(table.column("image").to_pylist()):
        draws = uniforms(1, number)
        train = training_pixels(row["bytes"], SHAPE, CROP, draws)
        test = evaluation_pixels(row["bytes"], SHAPE)
        trained = levels_apart(train, plain_training(row["bytes"], draws)).float().mean()
        tested = levels_apart(test, plain_evaluation(row["bytes"])).float().mean()
        assert max(trained, tested) < 0.5


@pytest.mark.parametrize(
    "options", [{"subsampling": s, "quality": q} for s in (0, 2) for q in (50, 95)]
)
def test_both_decoders_give_the_same_pixels(options, monkeypatch):
    if photographs.simplejpeg is None:
        pytest.skip("simplejpeg is not installed")
    files = [jpeg(*size, **options) for size in ((500, 375), (333, 501), (1999, 1503))]
    with_simplejpeg = [evaluation_pixels(data, SHAPE) for data in files]
    monkeypatch.setattr(photographs, "simplejpeg", None)
    for data, expected in zip(files, with_simplejpeg, strict=True):
        assert torch.equal(evaluation_pixels(data, SHAPE), expected)


@pytest.mark.usefixtures("any_machine")
def test_large_photographs_are_decoded_smaller_and_look_the_same():
    data = jpeg(2001, 1507)
    assert levels_apart(evaluation_pixels(data, SHAPE), plain_evaluation(data)).float().mean() < 0.5
    draws = uniforms(0, 0)
    draws[3:5] = 0.9, 0.5  # a large crop
    ours = training_pixels(data, SHAPE, CROP, draws)
    assert levels_apart(ours, plain_training(data, draws)).float().mean() < 0.5


@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    wanted=st.tuples(st.integers(1, 500), st.integers(1, 500)),
)
def test_decoding_smaller_leaves_more_pixels_than_are_needed(width, height, wanted):
    divisor = photographs.shrink_divisor((height, width), wanted)
    assert divisor in (1, 2, 4, 8)
    if divisor > 1:
        assert height / divisor >= MARGIN * wanted[0]
        assert width / divisor >= MARGIN * wanted[1]
    if divisor < 8:
        least = min(height / wanted[0], width / wanted[1])
        assert least < 2 * divisor * MARGIN + 1


@pytest.mark.parametrize("divisor", [1, 2, 4, 8])
@pytest.mark.usefixtures("any_machine")
def test_a_file_is_decoded_at_the_size_that_was_asked_for(divisor):
    for width, height in ((1003, 777), (800, 1600)):
        decoded = photographs.open_photograph(jpeg(width, height)).pixels(divisor, 3)
        assert decoded.shape == (-(-height // divisor), -(-width // divisor), 3)
        assert decoded.dtype == np.uint8


def test_other_formats_are_decoded_in_full_when_large():
    picture = scene(1200, 1000)
    lossless = encode(picture, "PNG", compress_level=1)
    assert levels_apart(evaluation_pixels(lossless, SHAPE), plain_evaluation(lossless)).max() <= 1


RED, GREY = (255, 0, 0), (100, 100, 100)
SOLID = {
    "grey JPEG": (Image.new("L", (300, 260), 100), "JPEG", GREY),
    "grey PNG": (Image.new("L", (300, 260), 100), "PNG", GREY),
    "16 bits of grey": (Image.new("I;16", (300, 260), 100 * 256), "PNG", GREY),
    "one bit": (Image.new("1", (300, 260), 1), "PNG", (255, 255, 255)),
    "palette": (Image.new("RGB", (300, 260), RED).quantize(4), "PNG", RED),
    "alpha": (Image.new("RGBA", (300, 260), (*RED, 255)), "PNG", RED),
    "transparent": (Image.new("RGBA", (300, 260), (*RED, 0)), "PNG", RED),
    "grey and alpha": (Image.new("LA", (300, 260), (100, 255)), "PNG", GREY),
    "CMYK": (Image.new("CMYK", (300, 260), (0, 255, 255, 0)), "JPEG", RED),
    "WebP": (Image.new("RGB", (300, 260), RED), "WEBP", RED),
    "colour JPEG": (Image.new("RGB", (300, 260), RED), "JPEG", (254, 0, 0)),
}


@pytest.mark.parametrize("kind", SOLID)
@pytest.mark.filterwarnings("error")
def test_every_kind_of_picture_becomes_rgb(kind):
    picture, format, colour = SOLID[kind]
    options = {"lossless": True} if format == "WEBP" else {}
    found = evaluation_pixels(encode(picture, format, **options), SHAPE)
    assert found.shape == SHAPE
    expected = torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(SHAPE)
    assert levels_apart(found, expected).max() <= 1


def test_a_network_for_grey_images_gets_one_channel():
    for data in (encode(Image.new("L", (60, 50), 100), "JPEG"), jpeg(60, 50)):
        assert evaluation_pixels(data, (1, 28, 28)).shape == (1, 28, 28)
        assert training_pixels(data, (1, 28, 28), CROP, uniforms(0, 0)).shape == (1, 28, 28)


@pytest.mark.usefixtures("any_machine")
def test_exif_orientation_is_left_alone_as_in_the_papers_pipelines():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, plain = jpeg(400, 300, exif=exif), jpeg(400, 300)
    assert Image.open(io.BytesIO(turned)).getexif()[0x0112] == 6
    assert torch.equal(evaluation_pixels(turned, SHAPE), evaluation_pixels(plain, SHAPE))


WHOLE = jpeg(400, 300)
BROKEN = {
    "nothing": b"",
    "text": b"no photograph at all",
    "half a JPEG": WHOLE[: len(WHOLE) // 2],
    "a JPEG's header": WHOLE[:300],
    "a JPEG's first bytes": WHOLE[:2],
    "half a PNG": encode(scene(100, 100))[:4000],
    "half a WebP": encode(scene(100, 100), "WEBP")[:500],
    "another format": encode(scene(50, 50), "GIF"),
    "a bomb": encode(Image.new("1", (14000, 14000)), "PNG"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.usefixtures("any_machine")
def test_broken_bytes_say_so(kind):
    with pytest.raises(Broken):
        evaluation_pixels(BROKEN[kind], SHAPE)
    with pytest.raises(Broken):
        training_pixels(BROKEN[kind], SHAPE, CROP, uniforms(0, 0))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.usefixtures("any_machine")
def test_stray_bytes_at_the_end_do_no_harm():
    expected = evaluation_pixels(WHOLE, SHAPE)
    assert torch.equal(evaluation_pixels(WHOLE + b"\0" * 20, SHAPE), expected)


def test_every_second_training_view_is_mirrored():
    draws = uniforms(3, 0)
    draws[0] = 0.7
    straight = training_pixels(WHOLE, SHAPE, CROP, draws)
    draws[0] = 0.3
    assert torch.equal(training_pixels(WHOLE, SHAPE, CROP, draws), straight.flip(2))
    flips = [uniforms(3, number)[0] < 0.5 for number in range(2000)]
    assert 0.45 < np.mean(flips) < 0.55


def test_draws_depend_on_seed_and_number_alone_and_are_pinned():
    first = uniforms(2, 5)
    uniforms(9, 9)
    assert np.array_equal(first, uniforms(2, 5))
    many = np.stack([uniforms(seed, number) for seed in (1, 2) for number in range(500)])
    assert len(np.unique(many)) == many.size
    assert many.min() >= 0
    assert many.max() < 1
    assert np.allclose(first[:3], PINNED, atol=1e-12)


PINNED = (0.8613198535853708, 0.17378034075261561, 0.6905333723086859)


def torchvision_box(width, height, chance):
    """torchvision.transforms.RandomResizedCrop.get_params, with the standard library's draws."""
    for _ in range(10):
        area = width * height * chance.uniform(0.08, 1.0)
        ratio = math.exp(chance.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return chance.randint(0, width - w), chance.randint(0, height - h), w, h
    ratio = width / height
    if ratio < 3 / 4:
        w, h = width, round(width / (3 / 4))
    elif ratio > 4 / 3:
        w, h = round(height * (4 / 3)), height
    else:
        w, h = width, height
    return (width - w) // 2, (height - h) // 2, w, h


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (224, 224), (900, 250)])
def test_crops_are_distributed_as_torchvisions(size):
    chance, count = random.Random(1), 4000
    theirs = np.array([torchvision_box(*size, chance) for _ in range(count)])
    ours = np.array([random_box(*size, CROP, uniforms(1, n)[1:]) for n in range(count)])
    ours[:, 2:] -= ours[:, :2]
    for one, other in zip(ours.T, theirs.T, strict=True):
        assert ks_2samp(one, other).pvalue > 1e-3
    areas = [np.prod(boxes[:, 2:], axis=1) for boxes in (ours, theirs)]
    assert ks_2samp(*areas).pvalue > 1e-3


@pytest.mark.parametrize("size", [(1000, 20), (20, 1000), (1, 1)])
def test_where_no_crop_fits_the_largest_centred_one_is_taken(size):
    theirs = torchvision_box(*size, random.Random(0))
    left, top, right, bottom = random_box(
        *size, Crop((0.9, 1.0), (3 / 4, 4 / 3)), uniforms(0, 0)[1:]
    )
    assert (left, top, right - left, bottom - top) == theirs


@given(
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    number=st.integers(0, 10**7),
    ratio=st.sampled_from([(3 / 4, 4 / 3), (0.8, 1.25), (1.0, 1.0), (2.0, 3.0)]),
)
def test_crops_lie_within_the_photograph(width, height, number, ratio):
    crop = Crop((0.08, 1.0), ratio)
    left, top, right, bottom = random_box(width, height, crop, uniforms(0, number)[1:])
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), number=st.integers(0, 100))
def test_photographs_of_any_size_give_pixels_of_the_shape(width, height, number):
    data = encode(Image.new("RGB", (width, height), RED), "JPEG")
    for found in (
        evaluation_pixels(data, (3, 28, 20)),
        training_pixels(data, (3, 28, 20), CROP, uniforms(0, number)),
    ):
        assert found.shape == (3, 28, 20)
