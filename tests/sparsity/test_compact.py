"""Shrunken networks compute what the masked ones do, and have nothing dead in them."""

import io
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import nn

from pai_bench.config.schema import Network
from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.cell import Cell, data_fields
from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.single_cell import print_cell
from pai_bench.leaderboard.terminal import print_board
from pai_bench.methods.conformance.problems import NETWORKS, RESNET
from pai_bench.methods.conformance.subject import SETTINGS, TRAINING
from pai_bench.networks.lenet import lenet_300_100, lenet_dessilbi
from pai_bench.networks.mobilenet import mobilenet_v1
from pai_bench.networks.vgg import vgg_16_bn
from pai_bench.networks.wide_resnet import wide_resnet
from pai_bench.sparsity.account import effective, macs_by_layer
from pai_bench.sparsity.compact import Shifted, compact_network
from pai_bench.sparsity.masks import Masks, layers, prunable
from pai_bench.store.result import Result
from pai_bench.store.store import Store
from pai_bench.training import fit

SIZE = (3, 8, 8)


def size_for(build):
    return (3, 32, 32) if build is small_mobilenet else SIZE


def small_mobilenet(shape, classes):
    return mobilenet_v1(shape, classes, width=0.04)


def padded(shape, classes):
    """Zeros beside constants, twice: dead channels differ from place to place."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 5, 3, padding=1),
        nn.Sigmoid(),
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(5, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.Conv2d(4, 6, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.BatchNorm1d(6 * math.prod(((s + 1) // 2 + 1 - 2) for s in shape[1:])),
        nn.LazyLinear(classes),
    )


def small_wrn(shape, classes):
    return wide_resnet(10, 1, 0.3, shape, classes)


BUILDERS = [problem.build for problem in NETWORKS] + [padded, small_wrn, small_mobilenet]


def drawn(build, seed, shape=SIZE, classes=4):
    """A network in double precision of which nothing is as a constructor leaves it."""
    torch.manual_seed(seed)
    network = build(shape, classes).double()
    network.eval()(torch.zeros(1, *shape, dtype=torch.float64))
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_var.copy_(module.running_var.abs() + 0.1)
    return network


def units(network, density, seed):
    """Masks that drop whole rows and columns of weights, and then single ones."""
    generator = torch.Generator().manual_seed(seed)
    masks = {}
    for name, weight in prunable(network):
        rows = torch.rand(weight.shape[0], generator=generator) < density
        columns = torch.rand(weight.shape[1], generator=generator) < density
        single = torch.rand(weight.shape, generator=generator) < 0.9
        kept = rows.view(-1, *[1] * (weight.dim() - 1)) & columns.view(
            -1, *[1] * (weight.dim() - 2)
        )
        masks[name] = kept & single
    return Masks(masks)


def outputs(network, shape=SIZE):
    images = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return network.eval()(images)


def same(network, masks, shape=SIZE):
    small = compact_network(network, masks, shape)
    masks.apply(network)
    found, expected = outputs(small, shape), outputs(network, shape)
    scale = max(1.0, float(expected.abs().max()))
    assert torch.allclose(found, expected, rtol=0, atol=1e-11 * scale)
    return small


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BUILDERS), st.floats(0.02, 1), st.integers(0, 10**6))
def test_outputs_are_those_of_the_masked_network(build, density, seed):
    network = drawn(build, seed, size_for(build))
    same(network, units(network, density, seed), size_for(build))


@settings(max_examples=40, deadline=None)
@given(st.floats(0.02, 0.6), st.integers(0, 10**6))
def test_a_multi_layer_perceptron_has_the_units_that_a_path_goes_through(density, seed):
    network = drawn(lenet_300_100, seed, (1, 4, 4))
    masks = units(network, density, seed)
    reached = effective(network, masks, (1, 4, 4))
    hidden = [int(reached[f"fc{n}.weight"].any(1).sum()) for n in (1, 2)]
    small = same(network, masks, (1, 4, 4))
    assert [len(layer.bias) for _, layer in layers(small)] == [*(max(1, h) for h in hidden), 4]


def test_the_network_itself_stays_as_it_is():
    network = drawn(padded, 3).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    compact_network(network, units(network, 0.4, 3), SIZE)
    assert network.training
    assert all(torch.equal(before[n], tensor) for n, tensor in network.state_dict().items())


def test_a_network_without_masked_weights_stays():
    network = drawn(lenet_dessilbi, 0, (1, 28, 28))
    small = same(network, Masks.ones(network), (1, 28, 28))
    assert macs_by_layer(small, (1, 28, 28)) == macs_by_layer(network, (1, 28, 28))
    assert str(small) == str(network)


def test_filters_of_a_lenet_go_with_what_they_fed():
    network = drawn(lenet_dessilbi, 0, (1, 28, 28))
    masks = Masks.ones(network)
    masks["conv2.weight"][4:] = False
    masks["conv3.weight"][10:] = False
    small = same(network, masks, (1, 28, 28))
    shapes = {name: tuple(layer.weight.shape) for name, layer in layers(small)}
    assert shapes["conv2"] == (4, 6, 5, 5)
    assert shapes["conv3"] == (10, 4, 5, 5)
    assert shapes["fc1"] == (84, 10)


def test_dead_filters_of_a_vgg_become_maps_where_borders_make_them_differ():
    network = drawn(vgg_16_bn, 0, (3, 16, 16))
    masks = Masks.ones(network)
    for number in range(1, 14):
        masks[f"conv{number}.weight"][5:] = False
    small = same(network, masks, (3, 16, 16))
    assert all(len(layer.weight) == 5 for name, layer in layers(small) if "conv" in name)
    assert isinstance(small.conv2, Shifted)
    assert small.bn1.num_features == 5


def test_a_residual_network_loses_inner_channels_only():
    network = RESNET.network(0, torch.float64)
    masks = Masks.ones(network)
    for name, _ in prunable(network):
        if "fc" not in name and masks[name].dim() == 4:
            masks[name][2:] = False
    small = same(network, masks, RESNET.shape)
    assert small[3].conv1.out_channels == small[3].conv2.in_channels == 2
    assert small[3].conv2.out_channels == 6
    assert small[0].out_channels == 6


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, inputs):
        return self.two(self.one(inputs) * inputs)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)

    def forward(self, inputs):
        return self.one(inputs) if inputs.sum() > 0 else inputs


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Gated(), "networks with call_function mul cannot be shrunk"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), "networks with LayerNorm cannot"),
        (Branching(), "cannot be traced"),
    ],
)
def test_what_cannot_be_followed_is_refused(network, says):
    with pytest.raises(BenchError, match=says):
        compact_network(network, Masks.ones(network), (4,))


def test_a_result_and_a_board_say_what_is_left_without_dead_filters(tmp_path):
    """A plain network: conv of 6, ReLU, pool, conv of 8, ReLU, mean, linear."""
    build = "pai_bench.methods.conformance.problems:plain"
    plain = SETTINGS.model_copy(update={"networks": {"check": Network(build=build)}})
    cell = Cell(
        method="random-filters", network="check", data="digits", recipe=TRAINING,
        density=0.4, seed=2, **data_fields(SETTINGS.data["digits"]),
    )  # fmt: skip
    outcome = fit.fit_cell(cell, plain, Hardware("cpu", "1"))
    first, second, last = outcome.masks.values()
    two = int((second.flatten(1).any(1) & last.any(0)).sum())
    one = int(first.flatten(1).any(1).sum())
    assert 0 < one < 6
    assert 0 < two < 8
    found = outcome.result.compacted
    assert (found.units, found.units_dense) == (one + two + 10, 6 + 8 + 10)
    assert found.parameters == 9 * one + one + 9 * one * two + two + 10 * two + 10
    assert found.flops == 2 * (64 * 9 * one + 16 * 9 * one * two + 10 * two)
    assert Result.from_json(json.loads(json.dumps(outcome.result.to_json()))) == outcome.result

    store = Store(tmp_path, "filters")
    store.put(cell, outcome.result)
    dense = 2 * (64 * 9 * 6 + 16 * 9 * 6 * 8 + 10 * 8)
    console = Console(file=io.StringIO(), width=200)
    print_board(console, board(store, "filters", [cell], ()), "filters")
    print_cell(console, store.get(cell.id))
    shown = console.file.getvalue()
    shares = (found.units / 24, found.parameters / found.parameters_dense, found.flops / dense)
    assert " / ".join(f"{share:.2f}" for share in shares) in shown
    assert f"{one + two + 10} of 24 units" in shown
