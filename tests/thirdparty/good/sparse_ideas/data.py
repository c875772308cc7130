"""Bars: pictures of one bar, lying or standing."""

import numpy as np

from pai_bench import dataset


@dataset("bars", classes=2, shape=[1, 8, 8], images=[400, 100], mean=[0.125], std=[0.33])
def load():
    """Make the pictures anew each time, always the same ones."""
    random = np.random.default_rng(0)
    return _part(random, 400), _part(random, 100)


def _part(random, count):
    labels = np.arange(count) % 2
    images = np.zeros((count, 1, 8, 8), np.uint8)
    for image, label, at in zip(images, labels, random.integers(0, 8, count), strict=True):
        image[(0, at) if label else (0, slice(None), at)] = 255
    return images, labels
