"""The networks' forward passes against definitions written out here, function by function."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pai_bench.networks.conv import conv_4, conv_4_dropout
from pai_bench.networks.lenet import lenet_5, lenet_300_100, lenet_dessilbi
from pai_bench.networks.mobilenet import mobilenet_v1
from pai_bench.networks.residual import BasicBlock, Bottleneck
from pai_bench.networks.resnet import resnet_18, resnet_18_small_stem, resnet_50
from pai_bench.networks.resnet_cifar import bottleneck_85, resnet_20
from pai_bench.networks.vgg import vgg_16_bn
from pai_bench.networks.wide_resnet import WideBlock, wrn_22_2


def scrambled(network):
    """In evaluation mode and float64, with normalisation that is not the identity."""
    torch.manual_seed(0)
    network = network.double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
    return network, network.state_dict()


def inputs(*shape):
    return torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def norm(values, state, name):
    """(x - mean) / sqrt(variance + 1e-5) * scale + shift, per channel."""
    keys = ("running_mean", "running_var", "weight", "bias")
    mean, variance, scale, shift = (state[f"{name}.{key}"][:, None, None] for key in keys)
    return (values - mean) / (variance + 1e-5).sqrt() * scale + shift


def conv(values, state, name, stride=1, padding=0):
    return F.conv2d(values, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)


def linear(values, state, name):
    return values.flatten(1) @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def pool(values):
    """The largest of each 2 x 2 values, a last odd row or column left out."""
    corners = [values[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
    height, width = corners[3].shape[2:]
    return torch.stack([corner[..., :height, :width] for corner in corners]).amax(0)


def close(one, other):
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("channels", "stride"), [(8, 1), (4, 1), (8, 2), (4, 2)])
def test_a_basic_block(channels, stride):
    block, state = scrambled(BasicBlock(channels, 8, stride))
    x = inputs(channels, 6, 6)
    hidden = norm(conv(x, state, "conv1", stride, 1), state, "bn1").relu()
    hidden = norm(conv(hidden, state, "conv2", 1, 1), state, "bn2")
    shortcut = x
    if (channels, stride) != (8, 1):
        shortcut = norm(conv(x, state, "shortcut.0", stride), state, "shortcut.1")
    assert close(block(x), (hidden + shortcut).relu())


@pytest.mark.parametrize(("channels", "stride"), [(16, 1), (8, 1), (16, 2), (8, 2)])
def test_a_bottleneck_has_its_stride_on_the_middle_convolution(channels, stride):
    block, state = scrambled(Bottleneck(channels, 4, stride))
    x = inputs(channels, 6, 6)
    hidden = norm(conv(x, state, "conv1"), state, "bn1").relu()
    hidden = norm(conv(hidden, state, "conv2", stride, 1), state, "bn2").relu()
    hidden = norm(conv(hidden, state, "conv3"), state, "bn3")
    shortcut = x
    if (channels, stride) != (16, 1):
        shortcut = norm(conv(x, state, "shortcut.0", stride), state, "shortcut.1")
    assert close(block(x), (hidden + shortcut).relu())


@pytest.mark.parametrize(("channels", "stride"), [(8, 1), (4, 1), (4, 2)])
def test_a_wide_block_carries_its_input_or_a_projection_of_the_activated_one(channels, stride):
    block, state = scrambled(WideBlock(channels, 8, stride, dropout=0.3))
    x = inputs(channels, 6, 6)
    activated = norm(x, state, "bn1").relu()
    hidden = norm(conv(activated, state, "conv1", stride, 1), state, "bn2").relu()
    carried = x if channels == 8 else conv(activated, state, "shortcut", stride)
    assert close(block(x), conv(hidden, state, "conv2", 1, 1) + carried)


def test_dropout_of_a_wide_block_stands_between_its_convolutions():
    block, x = WideBlock(4, 4, 1, dropout=1.0), torch.randn(2, 4, 6, 6)
    assert torch.equal(block.train()(x), x)
    assert not torch.equal(block.eval()(x), x)
    rates = {m.p for m in wrn_22_2((3, 32, 32), 10).modules() if isinstance(m, nn.Dropout)}
    assert rates == {0.3}


def test_lenet_300_100():
    network, state = scrambled(lenet_300_100((1, 8, 8), 10))
    hidden = linear(inputs(1, 8, 8), state, "fc1").relu()
    expected = linear(linear(hidden, state, "fc2").relu(), state, "fc3")
    assert close(network(inputs(1, 8, 8)), expected)


def test_lenet_5():
    network, state = scrambled(lenet_5((1, 28, 28), 10))
    hidden = pool(conv(inputs(1, 28, 28), state, "conv1").relu())
    hidden = pool(conv(hidden, state, "conv2").relu())
    assert close(
        network(inputs(1, 28, 28)), linear(linear(hidden, state, "fc1").relu(), state, "fc2")
    )


def test_lenet_of_dessilbi():
    network, state = scrambled(lenet_dessilbi((1, 28, 28), 10))
    hidden = pool(conv(inputs(1, 28, 28), state, "conv1", padding=2).relu())
    hidden = pool(conv(hidden, state, "conv2").relu())
    hidden = conv(hidden, state, "conv3").relu()
    assert hidden.shape[1:] == (120, 1, 1)
    assert close(
        network(inputs(1, 28, 28)), linear(linear(hidden, state, "fc1").relu(), state, "fc2")
    )


def test_conv_4():
    network, state = scrambled(conv_4((3, 32, 32), 10))
    hidden, sides = inputs(3, 32, 32), []
    for first, second in (("conv1", "conv2"), ("conv3", "conv4")):
        for name in (first, second):
            hidden = conv(hidden, state, name).relu()
            sides.append(hidden.shape[-1])
        hidden = pool(hidden)
        sides.append(hidden.shape[-1])
    assert sides == [30, 28, 14, 12, 10, 5]
    assert close(
        network(inputs(3, 32, 32)), linear(linear(hidden, state, "fc1").relu(), state, "fc2")
    )


def test_dropout_of_conv_4_follows_the_poolings_and_precedes_the_last_relu():
    network = conv_4_dropout((3, 32, 32), 10)
    after = [
        (type(first).__name__, second.p, type(third).__name__)
        for (first, second), (_, third) in zip(
            pairwise(network), pairwise(list(network)[1:]), strict=False
        )
        if isinstance(second, nn.Dropout)
    ]
    assert after == [
        ("MaxPool2d", 0.25, "Conv2d"),
        ("MaxPool2d", 0.25, "Flatten"),
        ("Linear", 0.5, "ReLU"),
    ]


def test_vgg_16():
    network, state = scrambled(vgg_16_bn((3, 32, 32), 100))
    plan = [64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3]
    hidden, index = inputs(3, 32, 32), 0
    for step in plan:
        if step == "M":
            hidden = pool(hidden)
            continue
        index += 1
        hidden = norm(conv(hidden, state, f"conv{index}", 1, 1), state, f"bn{index}").relu()
        assert hidden.shape[1] == step
    assert hidden.shape[2:] == (2, 2)
    assert close(network(inputs(3, 32, 32)), linear(hidden.mean((2, 3)), state, "fc"))


def test_mobilenet():
    """Depthwise: a convolution of all channels whose kernels are 0 across channels."""
    network, state = scrambled(mobilenet_v1((3, 64, 64), 10, width=0.25))
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    widths = [16, 32, 32, 64, 64, *[128] * 6, 256, 256]
    hidden = norm(conv(F.pad(inputs(3, 64, 64), (0, 1, 0, 1)), state, "conv1", 2), state, "bn1")
    hidden = hidden.relu()
    for index, (stride, width) in enumerate(zip(strides, widths, strict=True)):
        name = f"block{index + 1}"
        hidden = F.pad(hidden, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))
        filters = state[f"{name}.depthwise.weight"][:, 0]
        kernel = torch.diag_embed(filters.permute(1, 2, 0)).permute(2, 3, 0, 1)
        hidden = norm(F.conv2d(hidden, kernel, None, stride), state, f"{name}.bn1").relu()
        hidden = norm(conv(hidden, state, f"{name}.pointwise"), state, f"{name}.bn2").relu()
        assert hidden.shape[1] == width
    assert close(network(inputs(3, 64, 64)), linear(hidden.mean((2, 3)), state, "fc"))


STAGES = {  # size of a picture; stem, then each stage: blocks, channels, side
    resnet_20: (32, (16, 32), [(3, 16, 32), (3, 32, 16), (3, 64, 8)]),
    bottleneck_85: (32, (16, 32), [(9, 64, 32), (9, 128, 16), (9, 256, 8)]),
    resnet_18: (224, (64, 56), [(2, 64, 56), (2, 128, 28), (2, 256, 14), (2, 512, 7)]),
    resnet_18_small_stem: (64, (64, 64), [(2, 64, 64), (2, 128, 32), (2, 256, 16), (2, 512, 8)]),
    resnet_50: (224, (64, 56), [(3, 256, 56), (4, 512, 28), (6, 1024, 14), (3, 2048, 7)]),
    wrn_22_2: (32, (16, 32), [(3, 32, 32), (3, 64, 16), (3, 128, 8)]),
}


@pytest.mark.parametrize("build", STAGES)
def test_stages_halve_the_picture_and_double_the_width(build):
    size, stem, stages = STAGES[build]
    seen = []
    with torch.device("meta"):
        network = build((3, size, size), 10)
        blocks = [
            m for m in network.modules() if isinstance(m, (BasicBlock, Bottleneck, WideBlock))
        ]
        blocks[0].register_forward_pre_hook(lambda _m, given: seen.append(given[0].shape[1:3]))
        for block in blocks:
            block.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[1:3]))
        network(torch.zeros(2, 3, size, size))
    assert seen == [stem, *((channels, side) for n, channels, side in stages for _ in range(n))]


@pytest.mark.parametrize(("build", "size"), [(resnet_18, 64), (resnet_18_small_stem, 16)])
def test_the_stem_and_the_head_of_resnet_18(build, size):
    network, state = scrambled(build((3, size, size), 10))
    x = inputs(3, size, size)
    if build is resnet_18:
        hidden = norm(conv(x, state, "conv1", 2, 3), state, "bn1").relu()
        hidden = F.pad(hidden, (1, 0, 1, 0)).unfold(2, 3, 2).unfold(3, 3, 2).amax((-1, -2))
    else:
        hidden = norm(conv(x, state, "conv1", 1, 1), state, "bn1").relu()
    for index in (1, 2, 3, 4):
        hidden = network.get_submodule(f"stage{index}")(hidden)
    assert close(network(x), linear(hidden.mean((2, 3)), state, "fc"))
