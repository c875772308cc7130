"""Print digests of what a few steps of training leave, to compare processors by.

python kernels_of_networks.py portable|native
"""

import hashlib
import sys
from pathlib import Path

from pai_bench.core import portable

if __name__ == "__main__" and sys.argv[1] == "portable":
    portable.choose(threads=1)

import torch
from torch import nn

from pai_bench import networks
from pai_bench.config import loader
from pai_bench.registry import methods as registry

SETTINGS = Path(__file__).parents[2] / "benchmark.yaml"
NETWORKS = {"lenet-300-100": (1, 28, 28), "lenet-5": (1, 28, 28), "resnet-20": (3, 32, 32)}


def bits(tensors):
    parts = [tensor.detach().contiguous().numpy().tobytes() for tensor in tensors]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def ramp(*shape):
    """Numbers of all sizes from -0.5 to 0.5, by operations that are exact everywhere."""
    steps = torch.arange(torch.Size(shape).numel()).reshape(shape)
    return (steps * 7823 % 10007) / 10007 - 0.5


def train(network, images, steps=2):
    """Train for a few steps from weights that no generator drew; return what is left of it."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(ramp(*weight.shape) / max(1, weight[0].numel()) ** 0.5)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = network(images)
        nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 10).backward()
        optimizer.step()
    return [*network.parameters(), *network.buffers()]


class Gated(nn.Module):
    """A GRU whose last state is classified."""

    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(12, 20, batch_first=True), nn.Linear(20, 10)

    def forward(self, sequences):
        return self.head(self.gru(sequences)[0][:, -1])


def main():
    torch.set_num_threads(1)
    if sys.argv[1] == "portable" and not portable.use():
        sys.exit("the portable kernels are not in place")
    known = loader.load(SETTINGS, registry.available()).networks
    for name, shape in NETWORKS.items():
        network = networks.build(known[name], shape, 10)
        print(name, bits(train(network, ramp(8, *shape))))
    print("gru", bits(train(Gated(), ramp(8, 5, 12))))
    double = nn.Sequential(nn.Linear(100, 70), nn.Tanh(), nn.Linear(70, 10)).double()
    print("float64", bits(train(double, ramp(16, 100).double())))
    gram = ramp(40, 60).double() @ ramp(60, 40).double()
    print("spectrum", bits([torch.linalg.eigvalsh(gram @ gram.T)]))


if __name__ == "__main__":
    main()
