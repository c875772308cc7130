"""The papers' networks: sizes, shapes, and the weights they start with."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from pai_bench import networks
from pai_bench.errors import BenchError
from pai_bench.networks.lenet import lenet_300_100
from pai_bench.networks.resnet_cifar import resnet, resnet_20
from pai_bench.sparsity.masks import prunable
from pai_bench.streams import Streams

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
BUILDERS = {
    "lenet": ("pai_bench.networks.lenet:lenet_300_100", MNIST),
    "resnet": ("pai_bench.networks.resnet_cifar:resnet_20", CIFAR),
}


def build(which, seed=1):
    target, shape = BUILDERS[which]
    with Streams(seed).as_global("init"):
        return networks.build(target, shape, 10)


def count(tensors):
    return sum(tensor.numel() for tensor in tensors)


@pytest.mark.parametrize(
    ("which", "tensors", "weights", "parameters"),
    [("lenet", 3, 266_200, 266_610), ("resnet", 22, 270_896, 272_474)],
)
def test_networks_have_the_published_sizes(which, tensors, weights, parameters):
    network = build(which)
    assert len(prunable(network)) == tensors
    assert count(weight for _, weight in prunable(network)) == weights
    assert count(network.parameters()) == parameters


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_residual_networks_have_as_many_layers_as_their_name_says(depth):
    shortcuts = 2
    assert len(prunable(resnet(depth, CIFAR, 10))) == depth + shortcuts


@pytest.mark.parametrize("depth", [18, 19, 21])
def test_a_depth_that_is_none_is_refused(depth):
    with pytest.raises(ValueError, match="6n"):
        resnet(depth, CIFAR, 10)


@pytest.mark.parametrize("which", BUILDERS)
@pytest.mark.parametrize("classes", [10, 100])
def test_logits_are_one_per_class(which, classes):
    target, shape = BUILDERS[which]
    network = networks.build(target, shape, classes).eval()
    assert network(torch.zeros(3, *shape)).shape == (3, classes)


def test_stages_halve_the_picture_and_double_the_width():
    network, seen = resnet_20(CIFAR, 10), []
    for block in list(network)[3:12]:
        block.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[1:])))
    network(torch.zeros(2, *CIFAR))
    assert seen == [(16, 32, 32)] * 3 + [(32, 16, 16)] * 3 + [(64, 8, 8)] * 3


@pytest.mark.parametrize(("index", "stride"), [(3, 1), (6, 2)])
def test_a_block_adds_its_shortcut_before_the_last_relu(index, stride):
    block = list(resnet_20(CIFAR, 10))[index].eval()
    inputs = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))

    def convolve(weight, given, stride=1, padding=1):
        return conv2d(given, weight, None, stride, padding) / math.sqrt(1 + 1e-5)

    hidden = convolve(block.conv1.weight, inputs, stride).relu()
    shortcut = inputs
    if stride == 2:
        shortcut = convolve(block.shortcut[0].weight, inputs, stride, padding=0)
    expected = (convolve(block.conv2.weight, hidden) + shortcut).relu()
    assert torch.allclose(block(inputs), expected, atol=1e-5)


@pytest.mark.parametrize("which", BUILDERS)
def test_weights_are_drawn_with_variance_two_over_fan_in(which):
    for name, weight in prunable(build(which)):
        expected = math.sqrt(2 / weight[0].numel())
        error = 4 * expected / math.sqrt(2 * weight.numel())
        assert float(weight.detach().std()) == pytest.approx(expected, abs=error), name
        mean_error = 4 * expected / math.sqrt(weight.numel())
        assert float(weight.detach().mean()) == pytest.approx(0, abs=mean_error), name


def test_weights_are_normal_and_not_uniform():
    weight = build("lenet").fc1.weight.detach()
    assert float((weight / weight.std()).pow(4).mean()) == pytest.approx(3, abs=0.1)


def test_normalisation_starts_as_the_identity():
    norms = [m for m in build("resnet").modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 21
    for norm in norms:
        assert torch.all(norm.weight == 1)
        assert torch.all(norm.bias == 0)


@pytest.mark.parametrize("which", BUILDERS)
def test_one_seed_gives_one_start(which):
    torch.manual_seed(1)
    first = build(which)
    torch.manual_seed(2)
    again, other = build(which), build(which, seed=2)
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key
    assert any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
    )


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    build("lenet")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "target",
    [
        "pai_bench.networks.lenet:lenet",
        "pai_bench.networks.nothing:lenet_300_100",
        "nothing:at_all",
    ],
)
def test_a_builder_that_does_not_exist_is_one_line(target):
    with pytest.raises(BenchError, match=target) as caught:
        networks.build(target, MNIST, 10)
    assert "\n" not in str(caught.value)


def test_lenet_takes_any_shape():
    assert lenet_300_100((1, 8, 8), 10)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
