"""Photographs: from the bytes of a JPEG, PNG or WebP file to uint8 pixels of one size.

Crops and sizes follow torchvision's `RandomResizedCrop`, `Resize` and `CenterCrop`, with which the
papers' ImageNet pipelines are written, and colours follow `Image.convert("RGB")`. EXIF orientation
is not applied: torchvision's loader ignores it, so that the networks of the papers were trained and
evaluated on the photographs as they are stored.

Large photographs are decoded at 1/2, 1/4 or 1/8 of their size where that leaves `MARGIN` times as
many pixels a side as are needed: JPEG's cosine transform is then inverted on fewer coefficients.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

try:
    import simplejpeg  # type: ignore[import,unused-ignore]
except ImportError:  # Pillow decodes the same pixels, in 1.4 times the time.
    simplejpeg = None
DECODER = "Pillow" if simplejpeg is None else "simplejpeg"

Shape = tuple[int, int, int]
"""Channels, height, width."""
Size = tuple[int, int]
"""Height, width."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom; whole numbers are edges of pixels."""
Bytes = npt.NDArray[np.uint8]
"""Height x width x channels."""

FORMATS = ("JPEG", "PNG", "WEBP")
MARGIN = 2
LARGEST = 2**26
"""Pixels of a photograph that simplejpeg may decode; Pillow has a limit of its own."""
ATTEMPTS = 10
DRAWS = 3 + 2 * ATTEMPTS
"""Uniform numbers for one training image: flip, position, and size of each attempt."""
VECTORISED = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
"""Whether torch resizes bytes faster than Pillow here: 3 times with AVX2, a third without."""


class Broken(Exception):
    """A file cannot be decoded as a photograph."""


@dataclass(frozen=True)
class Crop:
    """Parameters of RandomResizedCrop."""

    scale: tuple[float, float]
    """Range of the area, as a fraction of the photograph's."""
    ratio: tuple[float, float]
    """Range of width over height."""


def uniforms(seed: int, number: int) -> npt.NDArray[np.float64]:
    """Draw the `DRAWS` uniform numbers in [0, 1) of photograph `number`.

    They depend on the arguments alone: Philox is counter-based, and its raw output is the same in
    every version of numpy.
    """
    raw = np.random.Philox(key=seed, counter=[0, number, 0, 0]).random_raw(DRAWS)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def training_pixels(
    data: bytes, shape: Shape, crop: Crop, draws: npt.NDArray[np.float64]
) -> Tensor:
    """Decode a training image: random resized crop, and a flip with probability 1/2.

    Args:
        data: Bytes of a JPEG, PNG or WebP file.
        shape: Channels, height, width of the result.
        crop: Range of the random crops.
        draws: The photograph's random numbers, from `uniforms`.

    Returns:
        uint8 (C, H, W).

    Raises:
        Broken: The bytes cannot be decoded.
    """
    photograph = open_photograph(data)
    box = random_box(photograph.width, photograph.height, crop, draws[1:])
    pixels = _cut(photograph, box, shape[1:], shape[0])
    return pixels.flip(2) if draws[0] < 0.5 else pixels


def evaluation_pixels(data: bytes, shape: Shape) -> Tensor:
    """Decode a test image: resize its shorter side, and crop the centre.

    The shorter side becomes 8/7 of the larger of height and width; 256 and 224 in the papers.

    Returns:
        uint8 (C, H, W).

    Raises:
        Broken: The bytes cannot be decoded.
    """
    photograph = open_photograph(data)
    channels, height, width = shape
    size = evaluation_size(photograph.width, photograph.height, shape[1:])
    pixels = _cut(photograph, (0, 0, photograph.width, photograph.height), size, channels)
    top, left = round((size[0] - height) / 2), round((size[1] - width) / 2)
    return pixels[:, top : top + height, left : left + width]


def random_box(width: int, height: int, crop: Crop, draws: npt.NDArray[np.float64]) -> Box:
    """Choose a crop as torchvision's RandomResizedCrop does.

    Up to ten times, area and logarithm of the ratio are drawn uniformly; the first crop that fits
    is positioned uniformly. Else it is the largest centred one with an allowed ratio.
    """
    (small, large), (narrow, wide) = crop.scale, map(math.log, crop.ratio)
    for first, second in draws[2:].reshape(ATTEMPTS, 2).tolist():
        area = width * height * (small + first * (large - small))
        ratio = math.exp(narrow + second * (wide - narrow))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left = int(draws[0] * (width - across + 1))
            top = int(draws[1] * (height - down + 1))
            return left, top, left + across, top + down
    across = max(1, min(width, round(height * crop.ratio[1])))
    down = max(1, min(height, round(width / crop.ratio[0])))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def evaluation_size(width: int, height: int, size: Size) -> Size:
    """Size to which a photograph is resized before its centre of `size` is cropped.

    >>> evaluation_size(500, 375, (224, 224))
    (256, 341)
    """
    short = max(size) * 256 // 224
    if width <= height:
        return int(short * height / width), short
    return short, int(short * width / height)


def _cut(photograph: _Photograph, box: Box, size: Size, channels: int) -> Tensor:
    """Decode at the smallest sufficient size, then crop to the box and resize."""
    shrink = shrink_divisor((box[3] - box[1], box[2] - box[0]), size)
    pixels = photograph.pixels(shrink, channels)
    if len(pixels) < photograph.height:
        box = box[0] / shrink, box[1] / shrink, box[2] / shrink, box[3] / shrink
    return _resize(pixels, size, box)


def shrink_divisor(available: tuple[float, float], needed: Size) -> int:
    """Divisor of a photograph's sides that leaves MARGIN times as many pixels as are needed."""
    ratio = min(side // (MARGIN * goal) for side, goal in zip(available, needed, strict=True))
    return next((divisor for divisor in (8, 4, 2) if ratio >= divisor), 1)


def _resize(pixels: Bytes, size: Size, box: Box) -> Tensor:
    """Resize the contents of the box, bilinear with antialiasing: uint8 (C, H, W)."""
    left, top, right, bottom = map(int, box)
    whole = (left, top, right, bottom) == box
    if whole:
        pixels = pixels[top:bottom, left:right]
    if whole and VECTORISED:
        tensor = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)
        return interpolate(tensor[None], size, mode="bilinear", antialias=True)[0]
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    resized = image.resize(size[::-1], Image.Resampling.BILINEAR, None if whole else box)
    return torch.from_numpy(np.array(resized).reshape(*size, -1)).permute(2, 0, 1)


class _Photograph(Protocol):
    """A photograph whose header has been read."""

    width: int
    height: int

    def pixels(self, shrink: int, channels: int) -> Bytes:
        """Decode at 1 / shrink of the size, or at full size where the format cannot do so."""


def open_photograph(data: bytes) -> _Photograph:
    """Read the header; simplejpeg decodes colour JPEG files, Pillow all others.

    Raises:
        Broken: The header cannot be read.
    """
    if simplejpeg is not None and data[:2] == b"\xff\xd8":
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError:
            return _Pillow(data)
        if colours == "YCbCr" and width * height <= LARGEST:
            return _SimpleJpeg(data, width, height)
    return _Pillow(data)


class _SimpleJpeg:
    """A JPEG file in colour."""

    def __init__(self, data: bytes, width: int, height: int) -> None:
        self.width, self.height, self._data = width, height, data

    def pixels(self, shrink: int, channels: int) -> Bytes:
        if channels != 3:
            return _Pillow(self._data).pixels(shrink, channels)
        try:
            decoded: Bytes = simplejpeg.decode_jpeg(
                self._data,
                min_height=-(-self.height // shrink),
                min_width=-(-self.width // shrink),
                min_factor=shrink,
            )
        except ValueError:  # simplejpeg is stricter than Pillow, for example on a stray byte.
            return _Pillow(self._data).pixels(shrink, channels)
        return decoded


class _Pillow:
    """Any file that Pillow can open.

    Any exception that Pillow raises on broken bytes becomes Broken.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._image: Any = Image.open(io.BytesIO(data), formats=FORMATS)
        except MemoryError:
            raise
        except Exception as error:
            raise Broken(f"{type(error).__name__}: {error}") from error
        self.width, self.height = self._image.size

    def pixels(self, shrink: int, channels: int) -> Bytes:
        try:
            return self._decoded(shrink, channels)
        except MemoryError:
            raise
        except Exception as error:
            raise Broken(f"{type(error).__name__}: {error}") from error

    def _decoded(self, shrink: int, channels: int) -> Bytes:
        image = self._image
        if shrink > 1:
            image.draft(image.mode, (self.width // shrink, self.height // shrink))
        if image.mode.startswith("I"):  # 16 bits of grey: Pillow's own conversion clips them.
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        mode = "L" if channels == 1 else "RGB"
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        return pixels.reshape(*pixels.shape[:2], channels)
