"""Small networks and batches that every method must support."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pai_bench.core.rng import RandomStreams
from pai_bench.networks.residual import BasicBlock

Shape = tuple[int, int, int]
CLASSES = 4


def mlp(shape: Shape, classes: int) -> nn.Module:
    """Two linear layers."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), 16), nn.ReLU(), nn.Linear(16, classes)
    )


def one_layer(shape: Shape, classes: int) -> nn.Module:
    """A linear classifier: its first layer is its last."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))


def plain(shape: Shape, classes: int) -> nn.Module:
    """Convolutions with biases and max pooling, without normalisation."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )


def resnet(shape: Shape, classes: int) -> nn.Module:
    """Batch norms, an identity shortcut and a projection shortcut."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        BasicBlock(6, 6, 1),
        BasicBlock(6, 8, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )


class Branches(nn.Module):
    """Two branches that share their input, one of them depthwise, concatenated."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(shape[0], 6, 3, padding=1)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.pointwise = nn.Conv2d(6, 4, 1)
        self.head = nn.Linear(10, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, classes)."""
        shared = self.stem(images).relu()
        both = torch.cat([self.depthwise(shared), self.pointwise(shared)], dim=1)
        logits: Tensor = self.head(both.relu().mean((2, 3)))
        return logits


def partly_dense(shape: Shape, classes: int) -> nn.Module:
    """Three linear layers, of which the second is marked as not prunable."""
    network = nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 12),
        nn.ReLU(),
        nn.Linear(12, 12),
        nn.ReLU(),
        nn.Linear(12, classes),
    )
    network[3].prunable = False  # type: ignore[assignment]
    return network


@dataclass(frozen=True)
class Problem:
    """A network with the shape of its input images and the sizes of its batches."""

    name: str
    build: Callable[[Shape, int], nn.Module]
    shape: Shape = (1, 6, 6)
    sizes: tuple[int, ...] = (8,)

    def network(self, start: int, dtype: torch.dtype) -> nn.Module:
        """Draw initial weights from the seed `start`."""
        with RandomStreams(start).as_global("init"):
            return self.build(self.shape, CLASSES).to(dtype)

    def batches(self, start: int) -> list[tuple[Tensor, Tensor]]:
        """Draw images and labels from the seed `start`."""
        generator = RandomStreams(start).generator("data-order")
        return [
            (
                torch.randn(size, *self.shape, generator=generator),
                torch.randint(0, CLASSES, (size,), generator=generator),
            )
            for size in self.sizes
        ]


MLP = Problem("an MLP", mlp, sizes=(8, 5))
RESNET = Problem("a ResNet with batch norm", resnet, (3, 6, 6))
BRANCHES = Problem("a network with a depthwise and a shared layer", Branches, (3, 6, 6))
NETWORKS = (
    MLP,
    Problem("a plain convolutional network", plain, (3, 6, 6)),
    RESNET,
    BRANCHES,
    Problem("a network with a dense layer", partly_dense),
    Problem("a network of one layer", one_layer),
)
