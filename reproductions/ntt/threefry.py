"""Random numbers as JAX 0.1.55 draws them, in NumPy: the initial weights of the authors' runs.

Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3",
section 3), split and laid out as JAX did before `jax_threefry_partitionable`. Equal to what JAX
draws up to the rounding of the error function.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, erfinv

Words = NDArray[np.uint32]
Floats = NDArray[np.float32]
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)


def key(seed: int) -> Words:
    """The key of a seed of 32 bits."""
    return np.array([0, seed], np.uint32)


def split(parent: Words) -> tuple[Words, Words]:
    """Two keys of one."""
    first, second = random_bits(parent, 4).reshape(2, 2)
    return first, second


def random_bits(of: Words, count: int) -> Words:
    """`count` words of 32 bits."""
    counters: Words = np.arange(count + count % 2, dtype=np.uint32)
    if count % 2:
        counters[-1] = 0
    first, second = np.split(counters, 2)
    return np.concatenate(_threefry(of, first, second))[:count]


def normal(of: Words, shape: Sequence[int]) -> Floats:
    """Draw from the standard normal distribution."""
    return _gaussian(of, shape, np.nextafter(np.float32(-1), np.float32(0)), np.float32(1))


def truncated_normal(of: Words, shape: Sequence[int]) -> Floats:
    """Draw from the standard normal distribution between -2 and 2."""
    end = np.float32(erf(sqrt(2)))
    return np.clip(_gaussian(of, shape, -end, end), -2, 2)


def _gaussian(of: Words, shape: Sequence[int], low: np.float32, high: np.float32) -> Floats:
    uniform = _uniform(of, prod(shape), low, high).reshape(shape)
    values: Floats = np.float32(sqrt(2)) * erfinv(uniform.astype(np.float64)).astype(np.float32)
    return values


def _uniform(of: Words, count: int, low: np.float32, high: np.float32) -> Floats:
    """Uniform between two ends: 23 random bits are the fraction of a float in 1..2."""
    fraction = (random_bits(of, count) >> np.uint32(9)) | np.uint32(0x3F800000)
    unit = fraction.view(np.float32) - np.float32(1)
    values: Floats = np.maximum(low, unit * (high - low) + low)
    return values


def _threefry(of: Words, first: Words, second: Words) -> tuple[Words, Words]:
    """Encrypt pairs of words."""
    keys = [of[0], of[1], of[0] ^ of[1] ^ PARITY]
    first, second = first + keys[0], second + keys[1]
    for group in range(5):
        for distance in ROTATIONS[group % 2]:
            first = first + second
            second = _rotated(second, distance) ^ first
        first = first + keys[(group + 1) % 3]
        second = second + keys[(group + 2) % 3] + np.uint32(group + 1)
    return first, second


def _rotated(words: Words, distance: int) -> Any:
    return (words << np.uint32(distance)) | (words >> np.uint32(32 - distance))
