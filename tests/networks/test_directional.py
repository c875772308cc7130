"""Products of Hessian and direction, block by block, are those of two backward passes."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from pai_bench.networks.directional import is_chain, outputs_along
from pai_bench.networks.recompute import recompute_activations
from pai_bench.networks.residual import BasicBlock, Bottleneck

LABELS = torch.arange(12) % 5


@pytest.fixture
def network():
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
    stage = nn.Sequential(BasicBlock(4, 4, 1), Bottleneck(4, 3, 2))
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(12, affine=False), nn.Linear(12, 5)
    made = nn.Sequential(*stem, stage, *head).double()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return made


@pytest.fixture
def given(network):
    """A batch, weights with a graph, and a direction."""
    weights = {
        name: tensor.detach().clone().requires_grad_()
        for name, tensor in network.named_parameters()
        if tensor.dim() > 1
    }
    direction = {name: torch.randn_like(weight) for name, weight in weights.items()}
    return torch.randn(12, 3, 8, 8, dtype=torch.float64), weights, direction


def by_two_backward_passes(network, images, weights, direction):
    network = copy.deepcopy(network)
    loss = cross_entropy(functional_call(network, weights, (images,)), LABELS)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    inner = sum((g * d).sum() for g, d in zip(gradients, direction.values(), strict=True))
    return torch.autograd.grad(inner, list(weights.values()))


def test_products_are_those_of_two_backward_passes(network, given):
    images, weights, direction = given
    expected = by_two_backward_passes(network, images, weights, direction)
    recompute_activations(network)  # As the first pass of GraSP has it.
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    outputs, change = outputs_along(network, weights, direction, images)
    (upper,) = torch.autograd.grad(cross_entropy(outputs, LABELS), outputs, create_graph=True)
    found = torch.autograd.grad((upper * change).sum(), list(weights.values()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    left = network.state_dict()
    assert all(torch.equal(left[name], tensor) for name, tensor in state.items())


def test_outputs_change_as_a_small_step_changes_them(network, given):
    images, weights, direction = given
    outputs, change = outputs_along(network, weights, direction, images)

    def after(step):
        moved = {name: weight + step * direction[name] for name, weight in weights.items()}
        return functional_call(copy.deepcopy(network), moved, (images,))

    torch.testing.assert_close(outputs, after(0.0))
    torch.testing.assert_close(change, (after(1e-6) - after(-1e-6)) / 2e-6, rtol=1e-4, atol=1e-6)


def test_networks_that_it_does_not_know_are_told(network):
    assert is_chain(network)
    for other in (nn.GELU(), nn.ReLU(inplace=True), nn.GroupNorm(2, 4)):
        assert not is_chain(nn.Sequential(*network, other))
    assert not is_chain(BasicBlock(4, 4, 1))
