"""What the authors' two notebooks ran on: networks, initial weights, split and order of batches.

All of it follows from seeds that their code fixes, so that none of their files is needed.
Numbers in brackets are sections of the paper's specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pai_bench import prunable
from pai_bench.networks.lenet import lenet_5, lenet_300_100
from pai_bench.reproductions.ntt import threefry

STEPS = 18_720
"""Of each run: 20 times 59,880 images over 64, rounded up [1.5]."""
BATCH = 64
HELD_OUT = 120
Indices = NDArray[np.int64]
Wiring = Sequence[tuple[int, ...] | None]
"""Shapes of kernels, layer by layer; None for a layer without weights, which takes a key too."""


@dataclass(frozen=True)
class Notebook:
    """One notebook: a network, and the weight of the L2 term before it is divided by the density.

    Kernels are (height, width, in, out) and (in, out), as in the authors' code.
    """

    network: Literal["lenet-300-100", "lenet-5"]
    wiring: Wiring
    l2: float

    def teacher(self, run: int) -> nn.Module:
        """The untrained network of a run, which begins with the key of its number [1.5, 1.6]."""
        build = lenet_5 if self.network == "lenet-5" else lenet_300_100
        network = build((1, 28, 28), 10)
        kernels, biases = zip(*_drawn(run, self.wiring), strict=True)
        with torch.no_grad():
            for (name, weight), kernel in zip(prunable(network), kernels, strict=True):
                after_pooling = self.network == "lenet-5" and name == "fc1.weight"
                weight.copy_(_as_ours(torch.from_numpy(kernel), after_pooling))
            named = [p for name, p in network.named_parameters() if name.endswith("bias")]
            for parameter, bias in zip(named, biases, strict=True):
                parameter.copy_(torch.from_numpy(bias))
        return network.eval()


MLP = Notebook("lenet-300-100", ((784, 300), None, (300, 100), None, (100, 10)), 1e-4)
CNN = Notebook(
    "lenet-5",
    ((5, 5, 1, 20), None, None, (5, 5, 20, 50), None, None, None, (800, 500), None, (500, 10)),
    1e-5,
)


def _drawn(run: int, wiring: Wiring) -> Iterator[tuple[threefry.Floats, threefry.Floats]]:
    """Kernels and biases: Glorot's normal distribution, truncated, and N(0, 0.01²) [1.6]."""
    rest = threefry.key(run)
    for shape in wiring:
        rest, of_layer = threefry.split(rest)
        if shape is not None:
            of_kernel, of_bias = threefry.split(of_layer)
            fans = prod(shape[:-2]) * (shape[-2] + shape[-1])
            scale = np.float32(sqrt(2 / fans) / 0.87962566103423978)
            kernel = threefry.truncated_normal(of_kernel, shape) * scale
            yield kernel, np.float32(0.01) * threefry.normal(of_bias, shape[-1:])


def _as_ours(kernel: Tensor, after_pooling: bool) -> Tensor:
    """A kernel in PyTorch's order: theirs has inputs after pooling by row, column, channel."""
    if kernel.ndim == 4:
        return kernel.permute(3, 2, 0, 1)
    if after_pooling:
        kernel = kernel.view(4, 4, 50, -1).permute(2, 0, 1, 3).flatten(0, 2)
    return kernel.T


def split(images: int = 60_000) -> tuple[Indices, Indices]:
    """Numbers of the images that are held out, and of all others in their order [1.5]."""
    order = np.arange(images)
    np.random.RandomState(9).shuffle(order)
    return order[:HELD_OUT], order[HELD_OUT:]


def batches(run: int) -> Iterator[Indices]:
    """Numbers of the images of each step of a run; run 2 goes on where run 1 has ended [1.5]."""
    _, images = split()
    generator, passed = np.random.RandomState(0), 0
    while True:
        order = generator.permutation(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            passed += 1
            if passed > STEPS * (run - 1):
                yield images[order[start : start + BATCH]]


def pixels(raw: Tensor, mean: float, deviation: float) -> Tensor:
    """Images as the network sees them [1.6]."""
    return (raw.float().view(-1, 1, 28, 28) / 255 - mean) / deviation
