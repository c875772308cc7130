"""Wide ResNet for 32 x 32 images, as in RigL (section 4.3): pre-activation blocks, dropout."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


class WideBlock(nn.Module):
    """BN, ReLU and a 3x3 convolution, twice, with dropout before the second convolution.

    Where the number of channels changes, the shortcut is a 1x1 convolution of the *activated*
    input; elsewhere it is the input itself. The paper places dropout between the convolutions; that
    it follows the activation is our choice. Convolutions have no biases.
    """

    def __init__(self, channels: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module | None = None
        if channels != width:
            self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, width, H / stride, W / stride)."""
        activated = self.relu(self.bn1(inputs))
        hidden = self.relu(self.bn2(self.conv1(activated)))
        shortcut = inputs if self.shortcut is None else self.shortcut(activated)
        return self.conv2(self.dropout(hidden)) + shortcut  # type: ignore[no-any-return]


def wide_resnet(
    depth: int, factor: int, dropout: float, shape: tuple[int, int, int], classes: int
) -> nn.Module:
    """WRN of 6n + 4 layers: three stages of n blocks, `factor` times as wide as 16, 32, 64."""
    blocks, rest = divmod(depth - 4, 6)
    if rest:
        raise ValueError(f"a wide ResNet has 6n + 4 layers, got {depth}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(shape[0], 16, 3, padding=1, bias=False)
    channels = 16
    for stage in (1, 2, 3):
        width = factor * 8 * 2**stage
        blocks_of_stage = []
        for index in range(blocks):
            stride = 2 if stage > 1 and index == 0 else 1
            blocks_of_stage.append(WideBlock(channels, width, stride, dropout))
            channels = width
        layers[f"stage{stage}"] = nn.Sequential(*blocks_of_stage)
    layers |= OrderedDict(
        bn=nn.BatchNorm2d(channels),
        relu=nn.ReLU(),
        mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(channels, classes),
    )
    return nn.Sequential(layers)


def wrn_22_2(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """WRN-22-2 with dropout 0.3: 1,076,912 conv and linear weights on CIFAR-10."""
    return wide_resnet(22, 2, 0.3, shape, classes)
