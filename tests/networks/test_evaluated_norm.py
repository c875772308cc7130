"""Batch norm as products and sums."""

import pytest
import torch
from torch.nn import functional

from pai_bench.networks.evaluated_norm import batch_norm


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4, 5)])
def test_values_and_gradients_are_those_of_torch(affine, training, shape):
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

    found, expected = outcome(batch_norm), outcome(functional.batch_norm)
    assert all(torch.allclose(one, other) for one, other in zip(found, expected, strict=True))
