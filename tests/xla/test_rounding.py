"""What gradients on XLA's CPU device differ by from eager ones: rounding, and nothing else.

XLA adds float32 one by one there, and batch norm sums over all pixels of a batch. Rounding moves
some activations across 0, where ReLU's gradient jumps: gradients of ResNet-20, by float64, were off
by up to 0.3 % eagerly and 1 % by XLA (32 images of noise), and agreed within 2e-12 in float64.
"""

import importlib
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pai_bench.networks.residual import BasicBlock

pytestmark = [
    pytest.mark.xla,
    pytest.mark.skipif(not find_spec("torch_xla"), reason="needs torch_xla: run `make test-xla`"),
]


@pytest.fixture(autouse=True)
def xla_cpu(monkeypatch):
    """Let PyTorch have XLA's CPU device."""
    monkeypatch.setenv("PJRT_DEVICE", "CPU")
    importlib.import_module("torch_xla").device()  # Before the first backward pass of all.


def gradients(dtype, device):
    """Gradients of a small residual network, with a stride and a projection, by name."""
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
    blocks = BasicBlock(8, 8, 1), BasicBlock(8, 16, 2), BasicBlock(16, 16, 1)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    network = nn.Sequential(*stem, *blocks, *head)
    images = torch.randn(32, 3, 16, 16).to(device, dtype)
    network.to(device, dtype)
    loss = cross_entropy(network(images), torch.arange(32, device=device) % 10)
    found = torch.autograd.grad(loss, list(network.parameters()))
    names = [name for name, _ in network.named_parameters()]
    return {name: gradient.cpu() for name, gradient in zip(names, found, strict=True)}


def distance(ours, exact):
    """The largest distance of a gradient from the exact one, relative to its norm."""
    return max(
        float((ours[name].double() - right).norm() / right.norm()) for name, right in exact.items()
    )


def test_gradients_of_residual_networks_differ_by_rounding():
    exact = gradients(torch.float64, "cpu")
    assert distance(gradients(torch.float64, "xla"), exact) < 1e-10
    assert distance(gradients(torch.float32, "cpu"), exact) < 0.01
    assert distance(gradients(torch.float32, "xla"), exact) < 0.02


def test_sums_are_made_one_by_one():
    """So their error is that of NumPy's running sums, and a hundred times that of PyTorch's."""
    numbers = torch.rand(16, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    exact = numbers.double().sum((1, 2, 3))
    by_one = numbers.flatten(1).numpy().cumsum(1)[:, -1]

    def error(sums):
        return float((torch.as_tensor(sums).double() - exact).norm() / exact.norm())

    found = error(numbers.to("xla").sum((1, 2, 3)).cpu())
    assert error(by_one) / 5 < found < error(by_one) * 5
    assert found > 10 * error(numbers.sum((1, 2, 3)))
