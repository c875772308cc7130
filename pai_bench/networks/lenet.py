"""LeNet-300-100: the fully connected network that pruning papers start with."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn

from pai_bench.networks.init import kaiming


def lenet_300_100(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Two hidden layers of 300 and 100 units, with ReLU and biases.

    266,200 prunable weights on 28 x 28 pixels and 10 classes.
    """
    layers = OrderedDict(
        flatten=nn.Flatten(),
        fc1=nn.Linear(math.prod(shape), 300),
        relu1=nn.ReLU(),
        fc2=nn.Linear(300, 100),
        relu2=nn.ReLU(),
        fc3=nn.Linear(100, classes),
    )
    return kaiming(nn.Sequential(layers))
