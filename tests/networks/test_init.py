"""Initialisations: how weights and biases are distributed, what stays as it was, determinism."""

import math

import pytest
import torch
from torch import nn

from pai_bench import networks
from pai_bench.config.schema import Network
from pai_bench.core.rng import RandomStreams
from pai_bench.networks.init import INITS
from pai_bench.networks.residual import BasicBlock, Bottleneck
from pai_bench.networks.wide_resnet import WideBlock
from pai_bench.sparsity.masks import layers

SMALL = "pai_bench.networks.resnet_cifar:resnet_20"
CUT = 0.87962566103423978
"""Deviation of a standard normal that is cut off at -2 and 2."""


def wide():
    """Layers with enough weights for statistics: conv, strided depthwise, linear, all biased."""
    return nn.Sequential(
        nn.Conv2d(30, 120, 3), nn.Conv2d(2000, 2000, 3, groups=2000), nn.Linear(400, 150)
    )


def start(init, seed=1, make=wide):
    torch.manual_seed(seed)
    network = make()
    INITS[init](network)
    return network


HE = [math.sqrt(2 / 270), math.sqrt(2 / 9), math.sqrt(2 / 400)]
GLOROT = [math.sqrt(2 / fans) for fans in (270 + 1080, 9 + 18000, 400 + 150)]
UNIFORM = math.sqrt(3)
"""Half width of a uniform distribution of deviation 1."""
TORCH = math.sqrt(1 / 400) / UNIFORM
"""Deviation of a linear weight or bias as PyTorch draws it."""
STARTS = {
    "kaiming": (HE, None),
    "ntt": (GLOROT, 2 / CUT),
    "glorot": (GLOROT, UNIFORM),
    "rigl-imagenet": ([math.sqrt(1 / 270), math.sqrt(1 / 9), 0.01], 2 / CUT),
    "he-fan-out": ([math.sqrt(2 / 1080), math.sqrt(2 / 18000), TORCH], None),
    "dessilbi-vgg": ([*HE[:2], 0.01], None),
}
"""Name -> deviation of each layer of `wide`; bound in deviations where the weights have one."""


@pytest.mark.parametrize("init", STARTS)
def test_weights_have_the_mean_and_deviation_of_the_paper(init):
    for layer, expected in zip(start(init), STARTS[init][0], strict=True):
        weight, count = layer.weight.detach(), layer.weight.numel()
        assert float(weight.std()) == pytest.approx(expected, rel=4 / math.sqrt(count))
        assert float(weight.mean()) == pytest.approx(0, abs=4 * expected / math.sqrt(count))


@pytest.mark.parametrize("init", [name for name, (_, bound) in STARTS.items() if bound])
def test_bounded_weights_reach_their_bound_and_no_further(init):
    deviations, bound = STARTS[init]
    for layer, deviation in zip(start(init)[:2], deviations[:2], strict=True):
        largest = float(layer.weight.detach().abs().max())
        assert 0.97 * bound * deviation < largest <= bound * deviation * (1 + 1e-6)


@pytest.mark.parametrize(
    ("init", "expected"),
    [("kaiming", 3.0), ("glorot", 1.8), ("ntt", 2.36), ("rigl-imagenet", 2.36)],
)
def test_weights_have_the_shape_of_their_distribution(init, expected):
    """Fourth moment over the square of the second: 3 if normal, 9/5 if uniform."""
    weight = start(init)[0].weight.detach()
    assert float((weight / weight.std()).pow(4).mean()) == pytest.approx(expected, abs=0.06)


def test_biases_of_ntt_are_small_and_normal():
    bias = start("ntt")[1].bias.detach()
    assert float(bias.std()) == pytest.approx(0.01, rel=0.1)
    assert float(bias.abs().max()) > 0.025


@pytest.mark.parametrize("init", ["glorot", "rigl-imagenet"])
def test_biases_of_rigl_are_zero(init):
    assert all(torch.count_nonzero(layer.bias) == 0 for layer in start(init))


@pytest.mark.parametrize("init", ["kaiming", "he-fan-out", "dessilbi-vgg"])
def test_biases_that_no_paper_describes_are_those_of_pytorch(init):
    torch.manual_seed(1)
    for layer, untouched in zip(start(init), wide_at(1), strict=True):
        assert torch.equal(layer.bias, untouched.bias)


def wide_at(seed):
    torch.manual_seed(seed)
    return wide()


def test_linear_layers_of_dessilbis_resnets_are_those_of_pytorch():
    assert torch.equal(start("he-fan-out")[2].weight, wide_at(1)[2].weight)


@pytest.mark.parametrize("init", INITS)
def test_layers_without_a_bias_and_other_modules_are_no_obstacle(init):
    network = start(init, make=lambda: nn.Sequential(nn.Conv1d(2, 3, 3, bias=False), nn.PReLU()))
    assert network[0].bias is None
    assert float(network[1].weight.detach()) == 0.25


@pytest.mark.parametrize("init", sorted(set(INITS) - {"rigl-imagenet"}))
def test_normalisation_starts_as_the_identity(init):
    network = networks.build(Network(build=SMALL, init=init), (3, 32, 32), 10)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 21
    for norm in norms:
        assert torch.all(norm.weight == 1)
        assert torch.all(norm.bias == 0)


@pytest.mark.parametrize(("block", "last"), [(BasicBlock, "bn2"), (Bottleneck, "bn3")])
def test_rigls_residual_blocks_start_as_their_shortcut(block, last):
    network = start("rigl-imagenet", make=lambda: block(4, 8, 2)).eval()
    norms = {n: m for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for name, norm in norms.items():
        assert torch.all(norm.weight == (0 if name == last else 1))
        assert torch.all(norm.bias == 0)
    inputs = torch.randn(2, 4, 6, 6)
    assert torch.equal(network(inputs), network.shortcut(inputs).relu())


def test_rigls_wide_blocks_keep_the_scale_of_their_norms():
    network = start("glorot", make=lambda: WideBlock(4, 8, 2, 0.3))
    assert torch.all(network.bn2.weight == 1)


@pytest.mark.parametrize("init", INITS)
def test_one_seed_gives_one_start(init):
    first, again, other = (start(init, seed) for seed in (1, 1, 2))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[0].weight, other[0].weight)


@pytest.mark.parametrize(
    ("target", "shape"),
    [("pai_bench.networks.lenet:lenet_300_100", (1, 28, 28)), (SMALL, (3, 32, 32))],
)
def test_kaiming_draws_what_the_stored_evidence_started_from(target, shape):
    """PyTorch's own start of each layer in turn, then all weights again, in the same order."""
    with RandomStreams(1).as_global("init"):
        network = networks.build(Network(build=target, init="kaiming"), shape, 10)
    with RandomStreams(1).as_global("init"):
        for _, layer in layers(network):
            fresh(layer)
        for name, layer in layers(network):
            expected = nn.init.kaiming_normal_(torch.empty_like(layer.weight))
            assert torch.equal(layer.weight, expected), name


def fresh(layer):
    biased = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, layer.out_features, biased)
    return nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, bias=biased)


@pytest.mark.parametrize(
    ("target", "init", "bound", "shares"),
    [
        ("vgg:vgg_16_bn", "dessilbi-vgg", 0.03, {3: 91, 64: 61, 128: 47, 256: 31, 512: 15}),
        ("resnet_cifar:resnet_50", "he-fan-out", 0.05, {16: 67, 32: 55, 64: 40}),
    ],
)
def test_dessilbis_weights_pass_its_threshold_as_often_as_described(target, init, bound, shares):
    """Per cent of |w| above lambda in the lasso recipes: by input channels, by output channels."""
    settings = Network(build=f"pai_bench.networks.{target}", init=init)
    with RandomStreams(1).as_global("init"):
        network = networks.build(settings, (3, 32, 32), 10)
    for channels, share in shares.items():
        found = [
            float((layer.weight.detach().abs() > bound).float().mean())
            for _, layer in layers(network)
            if isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (3, 3)
            and channels == (layer.in_channels if init == "dessilbi-vgg" else layer.out_channels)
        ]
        assert 100 * sum(found) / len(found) == pytest.approx(share, abs=2), channels
