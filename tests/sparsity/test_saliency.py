"""Gradients of masks against finite differences, without a trace left in the network."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.saliency import add_into, float_masks, mask_gradients, masked_forward

STEP = 1e-5


def network(training=True):
    """A small network in float64 with a convolution, a batch norm that is not fresh, biases."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(27, 4)
    ).double()
    with torch.no_grad():
        layers[1].weight.uniform_(0.5, 1.5)
        layers[1].running_mean.normal_()
    return layers.train(training)


def batch():
    random = torch.Generator().manual_seed(1)
    images = torch.randn(5, 2, 3, 3, generator=random, dtype=torch.float64)
    return images, torch.tensor([0, 1, 2, 3, 0])


def masks_of(net, density=0.6):
    random = torch.Generator().manual_seed(2)
    return Masks({n: torch.rand(w.shape, generator=random) < density for n, w in prunable(net)})


def loss(net, masks, **others):
    images, labels = batch()
    return cross_entropy(masked_forward(net, masks, **others)(images), labels)


def gradients(net, bools, **others):
    masks = float_masks(bools, net)
    return mask_gradients(loss(net, masks, **others), masks)


def differences(net, bools, **others):
    """Move each entry of each mask up and down a little, and see what becomes of the loss."""
    masks = {name: tensor.detach() for name, tensor in float_masks(bools, net).items()}
    found = {}
    for name, mask in masks.items():
        slopes = []
        for index in range(mask.numel()):
            ends = []
            for step in (STEP, -STEP):
                moved = mask.clone()
                moved.view(-1)[index] += step
                ends.append(loss(net, {**masks, name: moved}, **others))
            slopes.append((ends[0] - ends[1]) / (2 * STEP))
        found[name] = torch.stack(slopes).view_as(mask).detach()
    return found


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert float(tensor.abs().max()) > 1e-3, "a gradient of zeros would prove nothing"
        assert torch.allclose(found[name], tensor, atol=1e-8, rtol=1e-6), name


@pytest.mark.parametrize("training", [True, False])
def test_mask_gradients_are_those_of_finite_differences(training):
    net = network(training)
    bools = masks_of(net)
    assert_close(gradients(net, bools), differences(net, bools))


def test_weights_that_stand_in_are_the_ones_that_are_scored():
    net = network(False)
    random = torch.Generator().manual_seed(3)
    others = {n: torch.randn(w.shape, generator=random).double() for n, w in prunable(net)}
    bools = masks_of(net)
    found = gradients(net, bools, weights=others)
    assert_close(found, differences(net, bools, weights=others))
    assert not torch.allclose(found["0.weight"], gradients(net, bools)["0.weight"])


def test_a_mask_gradient_is_the_gradient_of_the_masked_weight_times_the_weight():
    net = network()
    bools, twin = masks_of(net), copy.deepcopy(net)
    bools.apply(twin)
    images, labels = batch()
    cross_entropy(twin(images), labels).backward()
    products = {
        name: masked.grad * dense.detach()
        for (name, masked), (_, dense) in zip(prunable(twin), prunable(net), strict=True)
    }
    assert_close(gradients(net, bools), products)


def test_masked_weights_have_gradients_too():
    net = network()
    bools = masks_of(net)
    found = gradients(net, bools)
    assert all(bool((found[name][~mask] != 0).any()) for name, mask in bools.items())


def test_what_the_objective_does_not_depend_on_has_gradient_zero():
    net = network()
    masks = float_masks(Masks.ones(net), net)
    found = mask_gradients((masks["4.weight"] ** 2).sum(), masks)
    assert torch.equal(found["0.weight"], torch.zeros_like(net[0].weight))
    assert torch.equal(found["4.weight"], torch.full_like(net[4].weight, 2))


@pytest.mark.parametrize("training", [True, False])
def test_the_networks_own_tensors_are_left_as_they_were(training):
    net = network(training)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    gradients(net, masks_of(net))
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(module.training == training for module in net.modules())


def test_state_that_stands_in_is_used_and_the_networks_own_is_not():
    net = network(False)
    masks = Masks.ones(net)
    floats = {name: mask.double() for name, mask in masks.items()}
    state = {
        "1.running_mean": torch.full((3,), 0.3).double(),
        "4.bias": torch.arange(4).double(),
    }
    twin = copy.deepcopy(net)
    twin.load_state_dict({**net.state_dict(), **state})
    images, _ = batch()
    found = masked_forward(net, floats, state=state)(images)
    assert torch.allclose(found, twin(images))
    assert not torch.allclose(found, net(images))


def test_float_masks_are_fresh_leaves_of_the_weights_type():
    net = network()
    bools = masks_of(net)
    for name, mask in float_masks(bools, net).items():
        assert mask.dtype == torch.float64
        assert mask.is_leaf
        assert mask.requires_grad
        assert torch.equal(mask.detach().bool(), bools[name])


def test_gradients_add_up_over_batches_without_touching_what_is_added():
    first, second = {"w": torch.ones(2)}, {"w": torch.full((2,), 3.0), "v": torch.zeros(1)}
    total = {}
    add_into(total, first)
    add_into(total, second)
    assert total["w"].tolist() == [4, 4]
    assert total["v"].tolist() == [0]
    assert first["w"].tolist() == [1, 1]
