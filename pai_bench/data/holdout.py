"""A validation split: training images held out, so that tuning need not use the test set."""

from __future__ import annotations

import torch
from torch import Tensor

SEED = 0
"""The split is part of the data: the same images are held out at every seed of a cell."""


def split(labels: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Split images, stratified by class, into those to train on and those held out.

    Args:
        labels: Labels (N,); or (N, L) of sequences, which are treated as one class.
        fraction: Fraction of each class, rounded, that a fixed random permutation holds out.

    Returns:
        Sorted indices of the training images and of the held-out images.

    >>> train, validation = split(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 0.25)
    >>> len(train), [int(label) for label in torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])[validation]]
    (6, [0, 1])
    """
    generator = torch.Generator().manual_seed(SEED)
    validation = torch.zeros(len(labels), dtype=torch.bool)
    if labels.ndim > 1:
        labels = torch.zeros(len(labels))
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        order = torch.randperm(len(members), generator=generator)
        validation[members[order[: round(fraction * len(members))]]] = True
    return (~validation).nonzero()[:, 0], validation.nonzero()[:, 0]
