"""Sizes of the papers' networks as published, and of every network of benchmark.yaml."""

from pathlib import Path

import pytest
import torch

from pai_bench import networks
from pai_bench.config import loader
from pai_bench.config.schema import Network
from pai_bench.core.errors import BenchError
from pai_bench.networks.conv import conv_4, conv_4_dropout
from pai_bench.networks.describe import Description, describe
from pai_bench.networks.mobilenet import mobilenet_v1
from pai_bench.networks.resnet import resnet_18_1000
from pai_bench.networks.resnet_cifar import resnet
from pai_bench.networks.wide_resnet import wide_resnet
from pai_bench.registry import methods as registry
from pai_bench.sparsity.masks import Masks, layers, prunable

SETTINGS = loader.load(Path(__file__).parents[2] / "benchmark.yaml", registry.available())
PUBLISHED = {  # network, data: parameters, prunable weights, prunable tensors
    ("lenet-300-100", "mnist"): (266_610, 266_200, 3),
    ("lenet-300-100-ntt", "mnist"): (266_610, 266_200, 3),
    ("lenet-5", "mnist"): (431_080, 430_500, 4),
    ("lenet-dessilbi", "mnist"): (None, 61_470, 5),
    ("conv-4", "cifar10"): (1_904_202, 1_903_296, 6),
    ("conv-4-dropout", "cifar10"): (1_904_202, 1_903_296, 6),
    ("resnet-20", "cifar10"): (272_474, 270_896, 22),
    ("resnet-50-dessilbi", "cifar10"): (758_554, None, 51),
    ("resnet-56-dessilbi", "cifar10"): (869_530, None, 85),
    ("vgg-16-bn", "cifar100"): (14_774_436, 14_761_664, 14),
    ("vgg-16-bn-dessilbi", "cifar10"): (14_728_266, None, 13),
    ("wrn-22-2", "cifar10"): (None, 1_076_912 - 432, 22),
    ("resnet-18", "imagenet-1k"): (11_689_512, 11_678_912, 21),
    ("resnet-18", "tiny-imagenet"): (None, 11_269_312, 21),
    ("resnet-18-1000", "tiny-imagenet"): (11_689_512, 11_678_912, 21),
    ("resnet-18-small-stem", "tiny-imagenet"): (None, 11_261_632, 21),
    ("resnet-50", "imagenet-1k"): (25_557_032, 25_502_912, 54),
    ("resnet-50-rigl", "imagenet-1k"): (25_557_032, 25_502_912, 54),
}
PAIRS = [(name, data) for name, network in SETTINGS.networks.items() for data in network.macs]


def described(name, data):
    return describe(SETTINGS.networks[name], SETTINGS.data[data].shape, SETTINGS.data[data].classes)


@pytest.mark.parametrize(("name", "data"), PUBLISHED)
def test_networks_have_the_published_sizes(name, data):
    parameters, weights, tensors = PUBLISHED[name, data]
    found = described(name, data)
    assert found.prunable == (weights or found.prunable)
    assert found.parameters == (parameters or found.parameters)
    assert found.tensors == tensors


def test_resnet_50_has_the_published_cost():
    assert described("resnet-50", "imagenet-1k").macs == pytest.approx(4.0892e9, rel=1e-5)


@pytest.mark.parametrize("density", [0.25, 0.15, 0.1, 0.05])
def test_mobilenet_has_the_published_sparsity_with_its_dense_layers(density):
    found = described("mobilenet-v1", "imagenet-1k")
    with torch.device("meta"):
        every = sum(layer.weight.numel() for _, layer in layers(mobilenet_v1((3, 224, 224), 1000)))
    published = {0.25: 0.742, 0.15: 0.841, 0.1: 0.890, 0.05: 0.940}
    assert (1 - density) * found.prunable / every == pytest.approx(published[density], abs=5e-4)


@pytest.mark.parametrize(("name", "data"), PAIRS)
def test_logits_are_one_per_class(name, data):
    data = SETTINGS.data[data]
    with torch.device("meta"):
        network = networks.build(SETTINGS.networks[name], data.shape, data.classes)
        outputs = 1000 if name == "resnet-18-1000" else data.classes
        places = data.shape[2:] if data.text else ()
        assert network(torch.zeros(2, *data.shape)).shape == (2, outputs, *places)


HEAVY = {"tiny-imagenet": (3, 32, 32), "imagenet-1k": (3, 64, 64), "wikitext-103": (1, 1, 8)}


def marked(name):
    """Large networks are slow."""
    is_large = max(SETTINGS.networks[name].macs.values(), default=0) > 2_000_000_000
    return pytest.param(name, marks=[pytest.mark.slow] * is_large)


@pytest.mark.parametrize("name", [marked(name) for name in SETTINGS.networks])
def test_a_network_trains_and_every_prunable_weight_tensor_gets_a_gradient(name):
    """The second step: where the last scale of a block starts at 0, the first sees nothing."""
    data = next(iter(SETTINGS.networks[name].macs))
    shape = HEAVY.get(data, SETTINGS.data[data].shape)
    torch.manual_seed(0)
    network = networks.build(SETTINGS.networks[name], shape, 10)
    masks = Masks({n: torch.rand_like(w) < 0.9 for n, w in prunable(network)})
    masks.apply(network)
    inputs, labels = torch.randn(4, *shape), torch.tensor([1, 2, 3, 4])
    if SETTINGS.data[data].text:
        inputs, labels = (torch.randint(0, 10, size) for size in ((4, *shape), (4, shape[2])))
    for _ in range(2):
        network.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(inputs), labels)
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.01 * parameter.grad
    assert torch.isfinite(loss)
    for tensor, weight in prunable(network):
        assert torch.isfinite(weight.grad).all(), tensor
        assert torch.count_nonzero(weight.grad) > 0, tensor


def test_a_description_counts_what_is_built():
    settings = SETTINGS.networks["wrn-22-2"]
    network = networks.build(settings, (3, 32, 32), 10)
    assert described("wrn-22-2", "cifar10") == Description(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        prunable=sum(weight.numel() for _, weight in prunable(network)),
        tensors=len(prunable(network)),
        macs=157_730_048,
        flops=315_460_096,
    )


def test_a_description_draws_nothing():
    before = torch.get_rng_state()
    described("resnet-50-rigl", "imagenet-1k")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("target", "side", "classes", "message"),
    [
        ("lenet:lenet_5", 12, 10, "network {} on inputs of (1, 12, 12): RuntimeError: "),
        ("vgg:vgg_16_bn", 8, 10, "network {} on inputs of (1, 8, 8): RuntimeError: "),
        ("resnet:resnet_18_1000", 64, 1001, "network builder {}: ValueError: 1000 outputs are "),
    ],
)
def test_what_does_not_fit_the_data_is_one_line(target, side, classes, message):
    target = f"pai_bench.networks.{target}"
    with pytest.raises(BenchError) as caught:
        describe(Network(build=target), (1, side, side), classes)
    assert str(caught.value).startswith(message.format(target))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_residual_networks_have_as_many_layers_as_their_name_says(depth):
    shortcuts = 2
    assert len(prunable(resnet(depth, (3, 32, 32), 10))) == depth + shortcuts


@pytest.mark.parametrize("depth", [18, 19, 21])
def test_a_depth_that_is_none_is_refused(depth):
    with pytest.raises(ValueError, match="6n"):
        resnet(depth, (3, 32, 32), 10)
    with pytest.raises(ValueError, match="6n"):
        wide_resnet(depth, 2, 0.0, (3, 32, 32), 10)


def test_a_thousand_outputs_must_do():
    with pytest.raises(ValueError, match="too few for 1001"):
        resnet_18_1000((3, 64, 64), 1001)


def test_masks_of_conv_4_fit_its_version_with_dropout():
    plain, dropout = conv_4((3, 32, 32), 10), conv_4_dropout((3, 32, 32), 10)
    assert set(Masks.ones(plain)) == set(Masks.ones(dropout))
    dropout.load_state_dict(plain.state_dict())
    inputs = torch.randn(2, 3, 32, 32)
    assert torch.equal(plain(inputs), dropout.eval()(inputs))


@pytest.mark.parametrize("width", [0.47, 0.204, 1.98])
def test_every_layer_of_a_scaled_mobilenet_is_scaled_and_rounded_down(width):
    with torch.device("meta"):
        whole, scaled = (mobilenet_v1((3, 32, 32), 10, factor) for factor in (1.0, width))
    pairs = zip(layers(whole)[:-1], layers(scaled)[:-1], strict=True)
    for (name, layer), (_, other) in pairs:
        assert other.weight.shape[0] == int(layer.weight.shape[0] * width), name
