"""NTT's CONV-4: four 3x3 convolutions without padding (lottery-ticket papers' Conv-4 pads)."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def conv_4(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """CONV-4: 1,903,296 prunable weights on 32 x 32 pixels in three channels and 10 classes."""
    return nn.Sequential(_layers(shape, classes))


def conv_4_dropout(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """CONV-4 with dropout of 0.25 after each pooling and 0.5 before the ReLU of the first fc.

    Parameters have the names of `conv_4`, so that masks and weights of either fit the other.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in _layers(shape, classes).items():
        layers[name] = layer
        if name in ("pool1", "pool2"):
            layers[f"dropout_{name}"] = nn.Dropout(0.25)
        if name == "fc1":
            layers["dropout_fc1"] = nn.Dropout(0.5)
    return nn.Sequential(layers)


def _layers(shape: tuple[int, int, int], classes: int) -> OrderedDict[str, nn.Module]:
    channels, *sides = shape
    height, width = (((side - 4) // 2 - 4) // 2 for side in sides)
    return OrderedDict(
        conv1=nn.Conv2d(channels, 64, 3),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(64, 64, 3),
        relu2=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv3=nn.Conv2d(64, 128, 3),
        relu3=nn.ReLU(),
        conv4=nn.Conv2d(128, 128, 3),
        relu4=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(128 * height * width, 512),
        relu5=nn.ReLU(),
        fc2=nn.Linear(512, classes),
    )
