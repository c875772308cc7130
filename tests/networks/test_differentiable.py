"""Layers by operations that have all derivatives: as torch's own."""

import contextlib

import pytest
import torch
from torch.nn import functional

from pai_bench.core.errors import BenchError
from pai_bench.networks import differentiable


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4, 5)])
def test_batch_norms_are_those_of_torch(affine, training, shape):
    generator = torch.Generator().manual_seed(0)

    def draw(*size):
        return torch.rand(*size, generator=generator, dtype=torch.float64)

    inputs = draw(*shape).requires_grad_()
    statistics = draw(3), draw(3)
    parameters = (draw(3).requires_grad_(), draw(3).requires_grad_()) if affine else (None, None)
    wanted = [inputs, *(p for p in parameters if p is not None)]

    def outcome(normalise):
        own = [statistic.clone() for statistic in statistics]
        outputs = normalise(inputs, *own, *parameters, training, 0.3, 1e-3)
        return [outputs, *torch.autograd.grad(outputs.square().sum(), wanted), *own]

    found, expected = outcome(differentiable.batch_norm), outcome(functional.batch_norm)
    assert all(torch.allclose(one, other) for one, other in zip(found, expected, strict=True))


POOLS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (0, 1), "dilation": (2, 1)},
]


@pytest.mark.parametrize("options", POOLS)
def test_max_pooling_is_that_of_torch(options):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 3, 7, 8, generator=generator, dtype=torch.float64).requires_grad_()

    def outcome(pool):
        outputs = pool(inputs, **options)
        (slope,) = torch.autograd.grad(outputs.pow(3).sum(), inputs, create_graph=True)
        return [outputs, slope, *torch.autograd.grad(slope.square().sum(), inputs)]

    found, expected = outcome(differentiable.max_pool2d), outcome(functional.max_pool2d)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_windows_beyond_the_image_are_refused():
    with pytest.raises(BenchError, match="ceil_mode"):
        differentiable.max_pool2d(torch.zeros(1, 1, 3, 3), 2, ceil_mode=True)


@pytest.mark.parametrize("device", ["cpu", "xla"])
def test_a_network_uses_them_on_an_xla_device_alone(device):
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.MaxPool2d(2, ceil_mode=True))
    refused = pytest.raises(BenchError) if device == "xla" else contextlib.nullcontext()
    with refused, differentiable.on(torch.device(device)):
        network(torch.zeros(2, 1, 3, 3))
