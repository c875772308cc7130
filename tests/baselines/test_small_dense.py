"""Small-dense is the small network: its weights, outputs, gradients and FLOPs."""

from collections import OrderedDict
from fractions import Fraction
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pai_bench import networks
from pai_bench.baselines.small_dense import SmallDense
from pai_bench.config.schema import Network, Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.methods.conformance.problems import Branches
from pai_bench.networks import init
from pai_bench.networks.lenet import lenet_5
from pai_bench.networks.mobilenet import mobilenet_v1
from pai_bench.networks.wide_resnet import WideBlock, wrn_22_2
from pai_bench.sparsity.account import effective, inference_flops, macs_by_layer
from pai_bench.sparsity.masks import layers, prunable
from pai_bench.sparsity.narrow import Narrowing
from pai_bench.sparsity.select import kept_count
from pai_bench.training import build, fit
from pai_bench.training.context import MethodContext

RECIPE = Recipe(epochs=1, batch_size=8, lr=0.1)
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def small_lenet_5(width, shape, classes):
    """Caffe's LeNet-5 with int(c * width) channels and units."""
    c1, c2, units = (int(c * width) for c in (20, 50, 500))
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, c1, 5), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(c1, c2, 5), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(), fc1=nn.Linear(c2 * 16, units), relu3=nn.ReLU(),
            fc2=nn.Linear(units, classes),
        )
    )  # fmt: skip


def small_wrn(width, shape, classes):
    """WRN-22-2 with int(c * width) channels in the stem and in each stage."""
    channels = int(16 * width)
    made = OrderedDict(conv1=nn.Conv2d(3, channels, 3, padding=1, bias=False))
    for stage in (1, 2, 3):
        inner = int(16 * 2**stage * width)
        blocks = []
        for index in range(3):
            stride = 2 if stage > 1 and index == 0 else 1
            blocks.append(WideBlock(channels, inner, stride, 0.3))
            channels = inner
        made[f"stage{stage}"] = nn.Sequential(*blocks)
    made |= OrderedDict(
        bn=nn.BatchNorm2d(channels), relu=nn.ReLU(), mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(), fc=nn.Linear(channels, classes),
    )  # fmt: skip
    return nn.Sequential(made)


def small_mobilenet(width, shape, classes):
    return mobilenet_v1(shape, classes, width=width)


CASES = {
    "LeNet-5, PyTorch's start": (lenet_5, small_lenet_5, MNIST, None),
    "LeNet-5, Glorot": (lenet_5, small_lenet_5, MNIST, "glorot"),
    "WRN-22-2": (wrn_22_2, small_wrn, CIFAR, "glorot"),
    "MobileNet": (mobilenet_v1, small_mobilenet, (3, 32, 32), "rigl-imagenet"),
}


def drawn(build, shape, start):
    with RandomStreams(5).as_global("init"):
        network = build(shape, 10)
        init.named(start)(network)
    return network


def chosen(network, shape, density, start=None):
    """Masks of the method at seed 5, which leave the network with the small one's weights."""
    context = MethodContext(density, RECIPE, 10, RandomStreams(5), initialise=init.named(start))
    module = SmallDense(network, context)
    module.set_masks(module.sparsify([(torch.zeros(2, *shape), None)]))
    return module.masks


def width_of(network, shape, masks):
    return Narrowing(network, shape).widest(masks.kept)


def pair(name, density=0.1):
    """The masked network, its masks, and the small one, both at their start."""
    build, small, shape, start = CASES[name]
    network = drawn(build, shape, start)
    masks = chosen(network, shape, density, start)
    width = width_of(network, shape, masks)
    return network, masks, drawn(partial(small, width), shape, start), shape


def without_dropout(*found):
    for network in found:
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    return found


@pytest.mark.parametrize("name", CASES)
def test_it_starts_with_the_weights_of_the_small_network_of_the_seed(name):
    network, masks, small, _ = pair(name)
    whole = dict(layers(network))
    assert masks.kept == sum(weight.numel() for _, weight in prunable(small))
    for key, layer in layers(small):
        kept = whole[key].weight[masks[f"{key}.weight"]]
        assert torch.equal(kept, layer.weight.flatten())
        if layer.bias is not None:
            assert torch.equal(whole[key].bias[: len(layer.bias)], layer.bias)


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_the_small_network(name):
    network, masks, small, shape = pair(name)
    for each in without_dropout(network, small):
        each.double().train()
    images, labels = torch.randn(6, *shape, dtype=torch.float64), torch.arange(6)
    for step in range(2):
        logits = []
        for each in (network, small):
            logits.append(each(images))
            each.zero_grad()
            cross_entropy(logits[-1], labels).backward()
        assert torch.allclose(*logits, rtol=1e-8, atol=1e-10), step
        whole = dict(layers(network))
        with torch.no_grad():
            for key, layer in layers(small):
                gradient = whole[key].weight.grad.mul_(masks[f"{key}.weight"])
                kept = gradient[masks[f"{key}.weight"]].view_as(layer.weight)
                assert torch.allclose(kept, layer.weight.grad, rtol=1e-6, atol=1e-10)
            for each in (network, small):
                for parameter in each.parameters():
                    parameter -= 0.05 * parameter.grad
    for each in (network, small):
        each.eval()
    assert torch.allclose(network(images), small(images), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_flops_by_masks_are_those_of_the_small_network(name):
    network, masks, small, shape = pair(name)
    counted = inference_flops(macs_by_layer(network, shape), masks)
    assert counted == pytest.approx(2 * sum(macs_by_layer(small, shape).values()), rel=1e-12)


def test_every_weight_is_on_a_path():
    network, masks, _, shape = pair("WRN-22-2")
    assert effective(network, masks, shape).kept == masks.kept


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("density", [0.5, 0.05])
def test_no_wider_network_has_as_few_weights(name, density):
    """At the next larger width, that of one more channel somewhere, there are too many."""
    build, small, shape, _ = CASES[name]
    network = drawn(build, shape, None)
    narrowing = Narrowing(network, shape)
    most = kept_count(sum(w.numel() for _, w in prunable(network)), density)
    width = narrowing.widest(most)

    def count(at):
        with torch.device("meta"):
            return sum(w.numel() for _, w in prunable(small(at, shape, 10)))

    units = {len(layer.weight) for layer in narrowing.layers.values()}
    wider = min(Fraction(int(of * width) + 1, of) for of in units)
    assert narrowing.kept(width) == count(width) <= most < count(wider)


def test_layers_without_masks_are_narrow_too():
    network = drawn(mobilenet_v1, (3, 32, 32), "rigl-imagenet")
    for name, layer in layers(network):
        layer.prunable = "depthwise" not in name and name != "conv1"
    masks = chosen(network, (3, 32, 32), 0.1, "rigl-imagenet")
    width = width_of(network, (3, 32, 32), masks)
    small = drawn(partial(small_mobilenet, width), (3, 32, 32), "rigl-imagenet")
    images = torch.randn(4, 3, 64, 64)
    assert torch.allclose(network.train()(images), small.train()(images), atol=1e-5)
    assert network.conv1.weight[int(32 * width) :].count_nonzero() == 0


def test_branches_keep_what_they_are_given():
    network = Branches((3, 6, 6), 4)
    found = Narrowing(network, (3, 6, 6)).units(Fraction(1, 2))
    assert found["depthwise"].outputs.tolist() == found["stem"].outputs.tolist()
    assert found["stem"].outputs.sum() == 3
    assert found["head"].inputs.tolist() == [True] * 3 + [False] * 3 + [True] * 2 + [False] * 2
    assert found["head"].outputs.all()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, inputs):
        return self.last(self.inner(self.inner(inputs)))


@pytest.mark.parametrize(
    ("network", "shape", "says"),
    [
        (nn.Linear(8, 4), (8,), "no width fits: the smallest network has 32 weights, not 4"),
        (nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2)), (8,), "smallest network has 10 weights"),
        (Twice(), (4,), "inner is used more than once"),
        (
            nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 2)),
            (4,),
            "what 2 reads is not 0 where nothing is",
        ),
        (
            nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(16, 2)),
            (4, 4, 4),
            "0 has groups of several channels",
        ),
    ],
)
def test_networks_that_cannot_be_narrowed_raise(network, shape, says):
    with pytest.raises(BenchError) as caught:
        chosen(network, shape, 0.1)
    assert says in str(caught.value)


def test_a_cell_trains_the_small_network(quick, settings):
    cell = quick(methods=("small-dense",), densities=(0.1,), seeds=(1,), epochs=2)[0]
    outcome = fit.fit_cell(cell, settings)
    assert outcome.result.status == "done", outcome.result.reason
    assert 0.09 < outcome.result.density < 0.1
    assert outcome.result.effective == outcome.result.density
    assert outcome.result.accuracy.last > 0.7


def test_the_cell_starts_as_the_network_of_the_settings_is_initialised(quick, settings):
    """Kaiming's variance is that of the small layers: larger than the whole network's."""
    cell = quick(methods=("small-dense",), densities=(0.05,), seeds=(1,))[0]
    builder = settings.networks[cell.network].build
    known = settings.model_copy(
        update={"networks": {cell.network: Network(build=builder, init="kaiming")}}
    )
    module = build.build_module(cell, known, ())
    masks = module.sparsify([(torch.zeros(1, 1, 8, 8), None)])
    weights = dict(prunable(networks.build(known.networks[cell.network], (1, 8, 8), 10)))
    kept = dict(prunable(module.network))["fc2.weight"][masks["fc2.weight"]]
    fan_in = int(masks["fc2.weight"].any(0).sum())
    assert fan_in < 60
    assert float(kept.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)
    assert float(weights["fc2.weight"].detach().std()) == pytest.approx((2 / 300) ** 0.5, rel=0.1)


def test_at_density_one_nothing_changes():
    network = drawn(lenet_5, MNIST, None)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert chosen(network, MNIST, 1.0).density() == 1
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())
