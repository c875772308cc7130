"""The two residual blocks of He et al., shared by the ResNets for CIFAR and for ImageNet."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Module):
    """A block that adds its input, or a projection of it, before the last ReLU."""

    expansion = 1
    """Output channels of the block over its width."""

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The batch norm whose output the shortcut is added to."""
        raise NotImplementedError


class BasicBlock(Residual):
    """Two 3x3 convolutions; a 1x1 convolution is the shortcut where the shape changes (B)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.shortcut = _shortcut(channels, width, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The second batch norm."""
        return self.bn2

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, width, H / stride, W / stride)."""
        hidden = self.relu(self.bn1(self.conv1(inputs)))
        return self.relu(self.bn2(self.conv2(hidden)) + self.shortcut(inputs))  # type: ignore[no-any-return]


class Bottleneck(Residual):
    """1x1, 3x3 and 1x1 convolutions, the stride on the 3x3 (v1.5); shortcuts as `BasicBlock`."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = _shortcut(channels, outputs, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The third batch norm."""
        return self.bn3

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 4 * width, H / stride, W / stride)."""
        hidden = self.relu(self.bn1(self.conv1(inputs)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        return self.relu(self.bn3(self.conv3(hidden)) + self.shortcut(inputs))  # type: ignore[no-any-return]


def stage(
    block: type[BasicBlock] | type[Bottleneck], channels: int, width: int, blocks: int, stride: int
) -> list[nn.Module]:
    """Make `blocks` blocks of one width; the first takes `channels` channels and has the stride."""
    inner = block.expansion * width
    return [block(channels, width, stride), *(block(inner, width, 1) for _ in range(blocks - 1))]


def _shortcut(channels: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and channels == outputs:
        return nn.Identity()
    projection = nn.Conv2d(channels, outputs, 1, stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(outputs))
