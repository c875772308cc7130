"""A validation split: training images that are held out, so that nobody tunes on the test set."""

from __future__ import annotations

import torch
from torch import Tensor

SEED = 0
"""The split is part of the data: the same images are held out at every seed of a cell."""


def split(labels: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Divide the images with these labels (N,) into those to train on and those held out.

    Stratified: of each class, `fraction` of the images (rounded) is held out, chosen by a fixed
    random permutation; sequences (labels (N, L)) are all of one class. Returns two sorted tensors
    of positions.

    >>> train, held = split(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 0.25)
    >>> len(train), [int(label) for label in torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])[held]]
    (6, [0, 1])
    """
    generator = torch.Generator().manual_seed(SEED)
    held = torch.zeros(len(labels), dtype=torch.bool)
    if labels.ndim > 1:
        labels = torch.zeros(len(labels))
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        order = torch.randperm(len(members), generator=generator)
        held[members[order[: round(fraction * len(members))]]] = True
    return (~held).nonzero()[:, 0], held.nonzero()[:, 0]
