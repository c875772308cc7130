"""ResNet-18 and ResNet-50 for ImageNet (v1.5: stride on the 3x3) and Tiny-ImageNet."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from pai_bench.networks.residual import BasicBlock, Bottleneck, stage

Layers = OrderedDict[str, nn.Module]


def resnet_18(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-18: 11,678,912 prunable weights in 21 tensors on ImageNet, 11,269,312 on Tiny."""
    return _resnet(_large_stem(shape[0]), BasicBlock, (2, 2, 2, 2), classes)


def resnet_18_1000(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-18 with 1000 outputs for any number of classes, 11,678,912 prunable weights.

    NTK-SAP's code trains this on Tiny-ImageNet: 800 of the outputs belong to no class.
    """
    if classes > 1000:
        raise ValueError(f"1000 outputs are too few for {classes} classes")
    return resnet_18(shape, 1000)


def resnet_18_small_stem(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-18 with a 3x3 first convolution and no pooling; 11,261,632 prunable weights on Tiny.

    It is in NTK-SAP's code, whose instructions for Tiny-ImageNet name the ImageNet model instead.
    """
    return _resnet(_small_stem(shape[0]), BasicBlock, (2, 2, 2, 2), classes)


def resnet_50(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-50: 25,502,912 prunable weights in 54 tensors on ImageNet."""
    return _resnet(_large_stem(shape[0]), Bottleneck, (3, 4, 6, 3), classes)


def _large_stem(channels: int) -> Layers:
    """Stem for ImageNet, which divides height and width by four."""
    return OrderedDict(
        conv1=nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(3, stride=2, padding=1),
    )


def _small_stem(channels: int) -> Layers:
    return OrderedDict(
        conv1=nn.Conv2d(channels, 64, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(),
    )


def _resnet(
    layers: Layers,
    block: type[BasicBlock] | type[Bottleneck],
    blocks: tuple[int, ...],
    classes: int,
) -> nn.Module:
    """Append to a stem the stages, of widths 64, 128, 256 and 512, and the classifier."""
    channels = 64
    for index, count in enumerate(blocks):
        width = 64 * 2**index
        stage_blocks = stage(block, channels, width, count, stride=2 if index else 1)
        layers[f"stage{index + 1}"] = nn.Sequential(*stage_blocks)
        channels = block.expansion * width
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, classes)
    return nn.Sequential(layers)
