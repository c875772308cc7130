"""Effective density against paths that are walked unit by unit, and costs against torch's count."""

from itertools import pairwise, product

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d
from torch.utils.flop_counter import FlopCounterMode

from pai_bench import networks
from pai_bench.networks.lenet import lenet_300_100
from pai_bench.networks.resnet_cifar import resnet_20
from pai_bench.sparsity.account import (
    costs_by_layer,
    effective,
    inference_flops,
    macs_by_layer,
    rigl_bytes,
    rigl_flops,
    sparse_bytes,
)
from pai_bench.sparsity.masks import Masks, prunable

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def random_masks(network, density, seed):
    random = torch.Generator().manual_seed(seed)
    return Masks({n: torch.rand(w.shape, generator=random) < density for n, w in prunable(network)})


def positions(masks):
    """The kept weights as (name, index) pairs."""
    return {(name, tuple(at)) for name, mask in masks.items() for at in mask.nonzero().tolist()}


def mlp(*sizes):
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def on_paths(masks, sizes):
    """Try every path through a multilayer perceptron; collect the weights of unbroken ones."""
    found = set()
    for path in product(*map(range, sizes)):
        steps = [(path[i + 1], path[i]) for i in range(len(masks))]
        labels = list(zip(masks, steps, strict=True))
        if all(bool(masks[name][step]) for name, step in labels):
            found.update(labels)
    return found


@pytest.mark.parametrize("density", [0.2, 0.35, 0.5, 0.8])
@pytest.mark.parametrize("sizes", [(4, 3, 2), (3, 4, 4, 2), (2, 3, 3, 3, 3), (5, 1)])
def test_a_perceptron_keeps_the_weights_on_unbroken_paths(sizes, density):
    network = mlp(*sizes)
    for seed in range(5):
        masks = random_masks(network, density, seed)
        assert positions(effective(network, masks, sizes[:1])) == on_paths(masks, sizes)


class Residual(nn.Module):
    """A strided convolution, max pooling, a block whose shortcut is `kind`, and a classifier.

    The other kinds have an identity as shortcut: `functional` calls its pooling as a function,
    `norms` normalises over groups and over whole inputs, `dense` has a middle layer without masks.
    """

    def __init__(self, kind):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(3)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(3, 3, 3, padding=1, groups=3 if kind == "depthwise" else 1)
        self.bn2 = nn.BatchNorm2d(3)
        self.conv2.prunable = kind != "dense"
        if kind == "norms":
            self.bn1, self.bn2 = nn.GroupNorm(3, 3), nn.LayerNorm((3, 2, 2))
        self.functional = kind == "functional"
        self.shortcut = nn.Conv2d(3, 3, 1, bias=False) if kind == "conv" else nn.Identity()
        self.residual = kind != "none"
        self.fc = nn.Linear(12, 2)

    def forward(self, inputs):
        first = self.bn1(self.conv1(inputs)).relu()
        first = max_pool2d(first, 2) if self.functional else self.pool(first)
        second = self.bn2(self.conv2(first))
        if self.residual:
            second = second + self.shortcut(first)
        return self.fc(second.relu().flatten(1))


def conv_edges(name, layer, source, size, target):
    """Unroll a convolution: (unit it reads, unit it writes, its weight), for each product."""
    stride, padding = layer.stride[0], layer.padding[0]
    per_group = layer.in_channels // layer.groups
    out_size = (size + 2 * padding - layer.kernel_size[0]) // stride + 1
    for at in product(*map(range, layer.weight.shape)):
        out, channel, down, right = at
        channel += out // (layer.out_channels // layer.groups) * per_group
        for y, x in product(range(out_size), repeat=2):
            row, column = y * stride + down - padding, x * stride + right - padding
            if 0 <= row < size and 0 <= column < size:
                yield (source, channel, row, column), (target, out, y, x), (name, at)


def residual_edges(network):
    """Unroll `Residual` on 2 x 8 x 8 inputs to edges between scalar units."""
    edges = list(conv_edges("conv1.weight", network.conv1, "input", 8, "hidden"))
    for channel, y, x in product(range(3), range(4), range(4)):
        edges.append((("hidden", channel, y, x), ("pooled", channel, y // 2, x // 2), None))
    edges += conv_edges("conv2.weight", network.conv2, "pooled", 2, "sum")
    if isinstance(network.shortcut, nn.Conv2d):
        edges += conv_edges("shortcut.weight", network.shortcut, "pooled", 2, "sum")
    elif network.residual:
        places = product(range(3), range(2), range(2))
        edges += [(("pooled", *at), ("sum", *at), None) for at in places]
    units = list(product(range(3), range(2), range(2)))
    for out, (index, at) in product(range(2), enumerate(units)):
        edges.append((("sum", *at), ("output", out), ("fc.weight", (out, index))))
    return edges


def reachable(starts, steps):
    seen, waiting = set(starts), list(starts)
    while waiting:
        fresh = steps.get(waiting.pop(), set()) - seen
        seen |= fresh
        waiting += fresh
    return seen


def on_walks(edges, kept):
    """The weights of the edges that lie between an input and an output, by walking both ways."""
    live = [edge for edge in edges if edge[2] is None or edge[2] in kept]
    onwards, back = {}, {}
    for source, target, _ in live:
        onwards.setdefault(source, set()).add(target)
        back.setdefault(target, set()).add(source)
    units = {unit for edge in edges for unit in edge[:2]}
    from_input = reachable([unit for unit in units if unit[0] == "input"], onwards)
    to_output = reachable([unit for unit in units if unit[0] == "output"], back)
    return {w for s, t, w in live if w is not None and s in from_input and t in to_output}


@pytest.mark.parametrize("density", [0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize(
    "kind", ["none", "identity", "conv", "depthwise", "functional", "norms", "dense"]
)
def test_a_residual_network_keeps_the_weights_between_input_and_output(kind, density):
    network = Residual(kind)
    edges = residual_edges(network)
    whole = set() if network.conv2.prunable else positions({"conv2.weight": network.conv2.weight})
    for seed in range(5):
        masks = random_masks(network, density, seed)
        expected = on_walks(edges, positions(masks) | whole) - whole
        assert positions(effective(network, masks, (2, 8, 8))) == expected


def test_the_unrolled_network_has_an_edge_for_every_multiplication():
    network = Residual("conv")
    inner = [name for *_, name in residual_edges(network) if name and name[0] == "fc.weight"]
    assert len(inner) == macs_by_layer(network, (2, 8, 8))["fc.weight"] == 24


def test_the_values_in_the_network_do_not_matter():
    network = Residual("conv")
    masks = random_masks(network, 0.2, 1)
    expected = positions(effective(network, masks, (2, 8, 8)))
    with torch.no_grad():
        for tensor in [*network.parameters(), network.bn1.running_mean]:
            tensor.fill_(-3.0)
        network.fc.weight.zero_()
    assert positions(effective(network, masks, (2, 8, 8))) == expected


@pytest.mark.parametrize("training", [True, False])
def test_network_and_masks_are_left_as_they_were(training):
    network = Residual("conv").train(training)
    masks = random_masks(network, 0.3, 0)
    tensors = [{k: v.clone() for k, v in it.items()} for it in (network.state_dict(), masks)]
    with torch.no_grad():
        effective(network, masks, (2, 8, 8))
    for before, after in zip(tensors, (network.state_dict(), masks), strict=True):
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert network.training == training
    assert isinstance(network.pool, nn.MaxPool2d)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.conv1._forward_hooks


def test_a_broken_network_keeps_nothing():
    network = mlp(6, 5, 4)
    masks = Masks({"0.weight": torch.ones(5, 6).bool(), "2.weight": torch.zeros(4, 5).bool()})
    assert effective(network, masks, (6,)).kept == 0


def test_a_shortcut_carries_the_signal_past_a_dead_block():
    network = Residual("identity")
    masks = Masks.ones(network)
    masks = Masks({**masks, "conv2.weight": torch.zeros_like(masks["conv2.weight"])})
    kept = effective(network, masks, (2, 8, 8)).kept_by_layer()
    assert kept == {"conv1.weight": 54, "conv2.weight": 0, "fc.weight": 24}


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.MaxPool2d(2, dilation=(1, 1)),
        nn.MaxPool2d(2, 1, dilation=2),
        nn.AdaptiveMaxPool2d(2),
    ],
    ids=str,
)
def test_every_kind_of_max_pooling_lets_signals_through(pool):
    features = pool(torch.zeros(1, 2, 6, 6)).numel()
    convolution = nn.Conv2d(1, 2, 3, padding=1)
    network = nn.Sequential(convolution, pool, nn.Flatten(), nn.Linear(features, 3))
    assert effective(network, Masks.ones(network), (1, 6, 6)).density() == 1


def test_a_dense_network_keeps_everything():
    network = resnet_20(CIFAR, 10)
    assert effective(network, Masks.ones(network), CIFAR).density() == 1


def test_taking_out_what_is_not_effective_does_not_change_the_outputs():
    network = resnet_20(CIFAR, 10).double().eval()
    masks = random_masks(network, 0.01, 0)
    masks.apply(network)
    inputs = torch.randn(4, *CIFAR, dtype=torch.float64)
    before = network(inputs)
    left = effective(network, masks, CIFAR)
    assert 0 < left.kept < masks.kept
    left.apply(network)
    assert torch.allclose(network(inputs), before, atol=1e-12)


def test_taking_out_any_effective_weight_changes_the_outputs_of_a_positive_network():
    network = mlp(4, 5, 5, 3).double()
    masks = effective(network, random_masks(network, 0.4, 3), (4,))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().add_(0.1)
    masks.apply(network)
    inputs = torch.ones(1, 4, dtype=torch.float64)
    before = network(inputs)
    assert masks.kept > 10
    for name, index in positions(masks):
        weight = dict(prunable(network))[name]
        value = weight[index].item()
        with torch.no_grad():
            weight[index] = 0
        assert not torch.equal(network(inputs), before)
        with torch.no_grad():
            weight[index] = value


NETWORKS = {
    "lenet": (lambda: lenet_300_100(MNIST, 10), MNIST),
    "resnet-20": (lambda: resnet_20(CIFAR, 10), CIFAR),
    "depthwise": (lambda: Residual("depthwise"), (2, 8, 8)),
    "tokens": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Flatten(), nn.Linear(20, 3)), (5, 6)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_accumulates_are_half_the_flops_that_torch_counts(name):
    make, shape = NETWORKS[name]
    network = make().eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape))
    found = macs_by_layer(network, shape)
    assert 2 * sum(found.values()) == counter.get_total_flops()
    assert set(found) == {weight for weight, _ in prunable(network)}


def test_counting_leaves_the_network_as_it_was():
    network = resnet_20(CIFAR, 10).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    macs_by_layer(network, CIFAR)
    assert network.training
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_layer_that_is_used_twice_is_counted_twice():
    layer = nn.Linear(4, 4)
    assert macs_by_layer(nn.Sequential(layer, nn.ReLU(), layer), (4,)) == {"0.weight": 32}


def test_inference_costs_two_flops_per_kept_weight_and_place():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 3))
    masks = Masks.ones(network)
    masks["0.weight"][1] = False
    masks["2.weight"].flatten()[:10] = False
    macs = macs_by_layer(network, (1, 4, 4))
    assert macs == {"0.weight": 18 * 16, "2.weight": 96}
    assert inference_flops(macs, Masks.ones(network)) == 2 * (18 * 16 + 96)
    assert inference_flops(macs, masks) == 2 * (9 * 16 + 86)


def test_layers_without_masks_are_counted_and_dense():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 3))
    network[0].prunable = False
    masks = Masks({"2.weight": torch.zeros(3, 32, dtype=torch.bool)})
    assert set(Masks.ones(network)) == {"2.weight"}
    macs = macs_by_layer(network, (1, 4, 4))
    assert macs == {"0.weight": 18 * 16, "2.weight": 96}
    assert inference_flops(macs, masks) == 2 * 18 * 16
    costs = costs_by_layer(network, (1, 4, 4))
    assert rigl_flops(costs, masks) == 2 * 18 * 16 + 2 * 16 + 3
    assert rigl_bytes(costs, masks) == 4 * (18 + 2) + 4 * 3 + 96 / 8


def test_on_the_meta_device_the_count_is_the_same():
    with torch.device("meta"):
        network = resnet_20(CIFAR, 10)
    assert macs_by_layer(network, CIFAR) == macs_by_layer(resnet_20(CIFAR, 10), CIFAR)


@pytest.mark.parametrize(
    ("name", "megabytes"), [("resnet-50-rigl", 102.122), ("mobilenet-v1", 16.864)]
)
def test_dense_networks_are_as_large_as_their_authors_count(name, megabytes, settings):
    network = networks.build(settings.networks[name], (3, 224, 224), 1000)
    assert sparse_bytes(network, {}) / 1e6 == pytest.approx(megabytes, abs=5e-4)
