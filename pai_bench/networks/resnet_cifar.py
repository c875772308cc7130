"""ResNets for 32 x 32 images, as in the code of NTK-SAP ("lottery" models) and of DessiLBI."""

from __future__ import annotations

from torch import nn

from pai_bench.networks.residual import BasicBlock, Bottleneck, stage


def resnet(depth: int, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet of 6n + 2 layers: three stages of n blocks, widths 16, 32, 64, linear classifier."""
    blocks, rest = divmod(depth - 2, 6)
    if rest:
        raise ValueError(f"a CIFAR ResNet has 6n + 2 layers, got {depth}")
    return _resnet(BasicBlock, blocks, shape, classes)


def resnet_20(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-20: 270,896 prunable weights in 22 tensors on CIFAR-10."""
    return resnet(20, shape, classes)


def resnet_32(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-32: 464,432 prunable weights in 34 tensors on CIFAR-10."""
    return resnet(32, shape, classes)


def resnet_50(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build what DessiLBI calls ResNet-50: basic blocks, 758,554 parameters on CIFAR-10."""
    return resnet(50, shape, classes)


def resnet_56(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-56: 851,504 prunable weights in 58 tensors on CIFAR-10."""
    return resnet(56, shape, classes)


def bottleneck_85(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build what DessiLBI calls ResNet-56: nine bottlenecks a stage, 85 convolutions.

    869,530 parameters on CIFAR-10. The position of the stride in a block is not specified; here it
    is on the 3x3 convolution.
    """
    return _resnet(Bottleneck, 9, shape, classes)


def _resnet(
    block: type[BasicBlock] | type[Bottleneck],
    blocks: int,
    shape: tuple[int, int, int],
    classes: int,
) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(shape[0], 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    ]
    channels = 16
    for width in (16, 32, 64):
        layers += stage(block, channels, width, blocks, stride=1 if width == 16 else 2)
        channels = block.expansion * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers)
