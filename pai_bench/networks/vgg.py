"""VGG-16 with batch norm for 32 x 32 images, as in the code of NTK-SAP and of DessiLBI."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions between two poolings."""


def vgg_16_bn(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """13 convolutions with bias, 4 max poolings, the mean over the last map, one linear layer.

    14,761,664 prunable weights in 14 tensors on CIFAR-100; 14,728,266 parameters on CIFAR-10.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, index = shape[0], 0
    for stage, widths in enumerate(WIDTHS):
        if stage:
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
        for width in widths:
            index += 1
            layers[f"conv{index}"] = nn.Conv2d(channels, width, 3, padding=1)
            layers[f"bn{index}"] = nn.BatchNorm2d(width)
            layers[f"relu{index}"] = nn.ReLU()
            channels = width
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, classes)
    return nn.Sequential(layers)
