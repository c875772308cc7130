"""ResNets for 32 x 32 pictures, as in the NTK-SAP code ("lottery" models)."""

from __future__ import annotations

from torch import Tensor, nn

from pai_bench.networks.init import kaiming


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; a 1x1 convolution is the shortcut where the shape changes (B)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, width, H / stride, W / stride)."""
        hidden = self.relu(self.bn1(self.conv1(inputs)))
        return self.relu(self.bn2(self.conv2(hidden)) + self.shortcut(inputs))  # type: ignore[no-any-return]


def resnet(depth: int, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet of 6n + 2 layers: three stages of n blocks, widths 16, 32, 64, linear classifier."""
    blocks, rest = divmod(depth - 2, 6)
    if rest:
        raise ValueError(f"a CIFAR ResNet has 6n + 2 layers, got {depth}")
    layers: list[nn.Module] = [
        nn.Conv2d(shape[0], 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    ]
    channels = 16
    for width in (16, 32, 64):
        for index in range(blocks):
            stride = 2 if width > 16 and index == 0 else 1
            layers.append(BasicBlock(channels, width, stride))
            channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)]
    return kaiming(nn.Sequential(*layers))


def resnet_20(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """ResNet-20: 270,896 prunable weights in 22 tensors on CIFAR-10."""
    return resnet(20, shape, classes)
