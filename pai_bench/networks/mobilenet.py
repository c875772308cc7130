"""MobileNet-v1, as in RigL (section 4.1.2): depthwise and pointwise convolutions in turn."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""Channels and stride of each pair of convolutions."""


def mobilenet_v1(shape: tuple[int, int, int], classes: int, width: float = 1.0) -> nn.Module:
    """MobileNet-v1 of which every layer has int(c * width) channels: RigL's small dense networks.

    4,209,088 conv and linear weights on ImageNet at width 1, of which RigL leaves the first
    convolution and the depthwise ones dense. Batch norm and ReLU follow each convolution; no
    convolution has a bias. The paper does not specify ReLU rather than ReLU6 and no dropout.
    """
    channels = int(32 * width)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        pad=_pad(2),
        conv1=nn.Conv2d(shape[0], channels, 3, stride=2, bias=False),
        bn1=nn.BatchNorm2d(channels),
        relu=nn.ReLU(),
    )
    for index, (full, stride) in enumerate(BLOCKS):
        outputs = int(full * width)
        layers[f"block{index + 1}"] = _separable(channels, outputs, stride)
        channels = outputs
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, classes)
    return nn.Sequential(layers)


wide_198, wide_252, wide_300, wide_398 = (
    partial(mobilenet_v1, width=width) for width in (1.98, 2.52, 3.0, 3.98)
)
"""RigL's "big sparse" networks: at densities .25, .15, .1 and .05 as large as the dense one."""


def _separable(channels: int, outputs: int, stride: int) -> nn.Module:
    layers = OrderedDict(
        pad=_pad(stride),
        depthwise=nn.Conv2d(channels, channels, 3, stride, groups=channels, bias=False),
        bn1=nn.BatchNorm2d(channels),
        relu1=nn.ReLU(),
        pointwise=nn.Conv2d(channels, outputs, 1, bias=False),
        bn2=nn.BatchNorm2d(outputs),
        relu2=nn.ReLU(),
    )
    return nn.Sequential(layers)


def _pad(stride: int) -> nn.Module:
    """Zero padding of a 3x3 convolution: on all sides, or where it strides, one row and column.

    The code's padding is asymmetric (an input of 225 for 224); the sides are not specified, and we
    take bottom and right, as TensorFlow's "same" does.
    """
    return nn.ZeroPad2d(1 if stride == 1 else (0, 1, 0, 1))
