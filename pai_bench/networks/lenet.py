"""LeNets: the fully connected LeNet-300-100, Caffe's LeNet-5, and DessiLBI's."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn


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
    return nn.Sequential(layers)


def lenet_5(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Caffe's LeNet-5, as in NTT: 5x5 convolutions without padding, each ReLU before its pooling.

    430,500 prunable weights on 28 x 28 pixels and 10 classes.
    """
    channels, *sides = shape
    height, width = (((side - 4) // 2 - 4) // 2 for side in sides)
    layers = OrderedDict(
        conv1=nn.Conv2d(channels, 20, 5),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(20, 50, 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(50 * height * width, 500),
        relu3=nn.ReLU(),
        fc2=nn.Linear(500, classes),
    )
    return nn.Sequential(layers)


def lenet_dessilbi(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """DessiLBI's LeNet: 6, 16 and 120 5x5 filters, then 84 units.

    61,470 prunable weights on 28 x 28 pixels, to which the first convolution adds a border of 2,
    and 10 classes. The pooling is not specified; two halvings lead from 28 to the single position
    of the 120 filters, and we use 2x2 max pooling.
    """
    channels, *sides = shape
    height, width = ((side // 2 - 4) // 2 - 4 for side in sides)
    layers = OrderedDict(
        conv1=nn.Conv2d(channels, 6, 5, padding=2),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 16, 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        conv3=nn.Conv2d(16, 120, 5),
        relu3=nn.ReLU(),
        flatten=nn.Flatten(),
        fc1=nn.Linear(120 * height * width, 84),
        relu4=nn.ReLU(),
        fc2=nn.Linear(84, classes),
    )
    return nn.Sequential(layers)
