"""Our counter counts what torch's own counts, operator by operator."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pai_bench.training.flop_counter import FlopCounter

NET = nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)
)


def hessian_product():
    weights = list(NET.parameters())
    loss = NET(torch.randn(2, 3, 8, 8)).square().sum()
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    torch.autograd.grad(sum(g.square().sum() for g in gradients), weights)


def inference():
    """Here composite operators arrive whole: what they are made of must be counted."""
    with torch.inference_mode():
        NET(torch.randn(2, 3, 8, 8))
        torch.einsum("ij,jk->ik", torch.randn(3, 4), torch.randn(4, 5))


def attention():
    layer, words = nn.MultiheadAttention(8, 2), torch.randn(5, 2, 8)
    layer(words, words, words)[0].sum().backward()


@pytest.mark.parametrize("work", [hessian_product, inference, attention])
def test_flops_are_those_that_torch_counts(work):
    with FlopCounterMode(display=False) as expected:
        work()
    with FlopCounter() as counter:
        work()
    assert counter.total == expected.get_total_flops() > 0


def test_a_matrix_product_takes_two_per_multiply_accumulate():
    with FlopCounter() as counter:
        torch.randn(3, 4) @ torch.randn(4, 5)
    assert counter.total == 2 * 3 * 4 * 5
