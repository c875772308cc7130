"""A network with batch norm and a layer that is never pruned."""

import math

from torch import nn

from pai_bench import network


@network("narrow", init="kaiming", dense=["2"])
def build(shape, classes):
    """Two layers of 16 units."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 16),
        nn.Linear(16, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, classes),
    )
