"""What RigL's networks cost, sparse and dense, as its paper and its notebooks count it."""

from dataclasses import replace
from functools import cache
from math import isqrt, prod

import pytest
import torch

from pai_bench.claims.parser import available
from pai_bench.networks.lenet import lenet_300_100
from pai_bench.networks.mobilenet import mobilenet_v1
from pai_bench.networks.resnet import resnet_50
from pai_bench.networks.wide_resnet import wrn_22_2
from pai_bench.sparsity.account import costs_by_layer, inference_flops, rigl_bytes, rigl_flops
from pai_bench.sparsity.allocate import erdos_renyi_kernel
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.training_cost import trained_flops

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
DENSE = Masks({})


@cache
def counted(build, shape, classes, **options):
    with torch.device("meta"):
        return costs_by_layer(build(shape, classes, **options), shape)


def costs(build, shape, classes, **options):
    return dict(counted(build, shape, classes, **options))


def uniform(costs, sparsity, dense=()):
    """Masks of int(s N) zeros in each layer but the `dense` ones."""
    return Masks(
        {
            name: torch.arange(cost.weights, dtype=torch.int32) >= int(sparsity * cost.weights)
            for name, cost in costs.items()
            if name not in dense
        }
    )


def at_side(cost, side):
    """The same layer with an output of side x side."""
    return replace(cost, places=side**2)


def test_resnet_50_costs_what_rigl_says():
    found = costs(resnet_50, (3, 224, 224), 1000)
    assert rigl_flops(found, DENSE) == pytest.approx(8.1895e9, rel=1e-4)
    assert rigl_bytes(found, DENSE) / 1e6 == pytest.approx(102.122, rel=1e-5)


def as_rigl_counts_resnet():
    """Its code adds a border of 3 and then counts one more: 115 x 115 outputs of the first layer.

    The 8.2e9 and the ratios published rest on that; our function counts the 112 x 112 there are.
    """
    found = costs(resnet_50, (3, 224, 224), 1000)
    assert isqrt(found["conv1.weight"].places) == 112
    found["conv1.weight"] = at_side(found["conv1.weight"], 115)
    assert rigl_flops(found, DENSE) == pytest.approx(8.2023e9, rel=1e-4)
    return found


def shapes(build, shape, classes):
    with torch.device("meta"):
        return {name: tuple(w.shape) for name, w in prunable(build(shape, classes))}


def erk(shapes, sparsity, dense=(), left_out=()):
    """Masks of int(s N) zeros in each layer, s by ERK; layers that are `left_out` have no mask."""
    inner = {name: shape for name, shape in shapes.items() if name not in left_out}
    shares = erdos_renyi_kernel(inner, 1 - sparsity, dense)
    return Masks(
        {
            name: torch.arange(prod(inner[name]), dtype=torch.int32)
            >= int((1 - share) * prod(inner[name]))
            for name, share in shares.items()
        }
    )


STEM = {"conv1.weight"}
RESNET_50 = {
    "uniform": {
        0.8: (0.2254, 0.2279, 1.140, 23.729),
        0.9: (0.1285, 0.1314, 0.657, 13.532),
        0.95: (0.0801, 0.0831, 0.416, 8.433),
        0.965: (0.0656, 0.0687, 0.343, 6.904),
        0.99: (0.0414, 0.0445, 0.223, 4.354),
    },
    "erk": {
        0.8: (0.4153, 0.4172, 2.086, 23.684),
        0.9: (0.2431, 0.2456, 1.228, 13.499),
        0.95: (0.1230, 0.1259, 0.630, 8.399),
        0.965: (0.0865, 0.0895, 0.448, 6.869),
        0.99: (0.0257, 0.0289, 0.145, 4.318),
    },
    "erk, dense stem": {
        0.8: (0.4200, 0.4219, 2.109, 23.713),
        0.9: (0.2610, 0.2634, 1.317, 13.532),
        0.95: (0.1471, 0.1499, 0.750, 8.433),
        0.965: (0.1125, 0.1154, 0.577, 6.904),
        0.99: (0.0548, 0.0579, 0.290, 4.354),
    },
}
"""Distribution -> sparsity -> inference, RigL's training once and five times as long, megabytes."""


def masks_of_resnet_50(found, kind, sparsity):
    if kind == "uniform":
        return uniform(found, sparsity, dense=STEM)
    dense = STEM if kind == "erk, dense stem" else ()
    return erk(shapes(resnet_50, (3, 224, 224), 1000), sparsity, dense)


@pytest.mark.parametrize(
    ("kind", "sparsity"), [(kind, sparsity) for kind in RESNET_50 for sparsity in RESNET_50[kind]]
)
def test_a_sparse_resnet_50_costs_what_rigl_says(kind, sparsity):
    """Training as a part of the dense one: 100 steps, then a batch for a dense gradient."""
    found = as_rigl_counts_resnet()
    masks = masks_of_resnet_50(found, kind, sparsity)
    sparse, whole = rigl_flops(found, masks), rigl_flops(found, DENSE)
    ratio, training, longer, megabytes = RESNET_50[kind][sparsity]
    assert sparse / whole == pytest.approx(ratio, abs=1e-4)
    rigl = trained_flops(sparse, whole, images=101, dense=1) / (3 * whole * 101)
    assert rigl == pytest.approx(training, abs=1e-4)
    assert 5 * rigl == pytest.approx(longer, abs=1e-3)
    assert rigl_bytes(found, masks) / 1e6 == pytest.approx(megabytes, abs=1e-3)


def test_dense_training_of_resnet_50_costs_what_rigl_says():
    whole = rigl_flops(as_rigl_counts_resnet(), DENSE)
    assert trained_flops(whole, whole, 4096 * 32_000) == pytest.approx(3.22e18, rel=2e-3)


@pytest.mark.parametrize(("sparsity", "ratio"), [(0.8, 0.610), (0.9, 0.495)])
def test_a_dense_gradient_at_every_step_costs_what_rigl_says_of_snfs(sparsity, ratio):
    found = as_rigl_counts_resnet()
    whole = rigl_flops(found, DENSE)
    sparse = rigl_flops(found, masks_of_resnet_50(found, "erk", sparsity))
    snfs = trained_flops(sparse, whole, images=1, dense=1) / (3 * whole)
    assert snfs == pytest.approx(ratio, abs=6e-4)


@pytest.mark.parametrize(
    ("sparsity", "ratio"), [(0.8, 0.559), (0.9, 0.504), (0.95, 0.477), (0.965, 0.468)]
)
def test_gradual_pruning_costs_what_rigl_says(sparsity, ratio):
    """From step 10,000 to 25,000 of 32,000, cubic, the first layer dense.

    Its notebook rounds to three digits; masks that change every 100 steps come within one of them
    (every 1000 steps, as in its trainings, would be .571 at 80 %).
    """
    found = as_rigl_counts_resnet()
    whole = rigl_flops(found, DENSE)
    once = rigl_flops(found, uniform(found, sparsity, dense=STEM)) / whole
    cost = 0.0
    for step in range(0, 32_000, 100):
        part = min(1.0, max(0.0, (step - 10_000) / 15_000))
        sparse = whole * (1 - (1 - once) * (1 - (1 - part) ** 3))
        cost += trained_flops(sparse, whole, images=100)
    assert cost / (3 * whole * 32_000) == pytest.approx(ratio, abs=1e-3)


def narrow(build, shape, classes, width):
    """Costs of the network with int(c * width) channels in all layers, from those of the whole."""
    found, sizes = costs(build, shape, classes), shapes(build, shape, classes)
    first, *_, last = found
    small = {}
    for name, cost in found.items():
        outputs, inputs, *kernel = sizes[name]
        outputs = outputs if name == last else int(outputs * width)
        inputs = inputs if name == first else int(inputs * width)
        small[name] = replace(cost, weights=outputs * inputs * prod(kernel), channels=outputs)
    return small


@pytest.mark.parametrize(
    ("width", "ratio"), [(0.465, 0.2218), (0.34, 0.1209), (0.26, 0.0723), (0.231, 0.0575)]
)
def test_a_small_dense_resnet_50_costs_what_rigl_says(width, ratio):
    small = narrow(resnet_50, (3, 224, 224), 1000, width)
    small["conv1.weight"] = at_side(small["conv1.weight"], 115)
    dense = rigl_flops(as_rigl_counts_resnet(), DENSE)
    assert rigl_flops(small, DENSE) / dense == pytest.approx(ratio, abs=1e-4)


def as_rigl_counts_mobilenet(width=1.0):
    """Two artefacts of RigL's count of MobileNet, which ours does not share.

    A strided layer reads a picture with one more row and column, and is counted as if it had a
    border all around as well: one more row and column of outputs. A depthwise layer is counted as
    a convolution from c channels to one: a c-th of its outputs and biases.
    """
    counted = {}
    sides = [112]
    for name, cost in costs(mobilenet_v1, (3, 224, 224), 1000, width=width).items():
        side = isqrt(cost.places)
        strided = name == "conv1.weight" or (name.endswith("depthwise.weight") and side < sides[-1])
        sides.append(side)
        cost = at_side(cost, side + 1) if strided else cost
        counted[name] = replace(cost, channels=1) if "depthwise" in name else cost
    assert sides[1:3] == [112, 112]
    return counted


@pytest.mark.parametrize(
    ("width", "megaflops", "megabytes"),
    [
        (1.0, 1141.544, 16.864),
        (0.47, 266.539, 4.789),
        (0.353, 154.770, 3.076),
        (0.285, 103.825, 2.236),
        (0.204, 56.617, 1.396),
    ],
)
def test_mobilenets_cost_what_rigl_says(width, megaflops, megabytes):
    found = as_rigl_counts_mobilenet(width)
    assert rigl_flops(found, DENSE) / 1e6 == pytest.approx(megaflops, rel=1e-5)
    assert rigl_bytes(found, DENSE) / 1e6 == pytest.approx(megabytes, rel=2e-4)


@pytest.mark.parametrize(
    ("sparsity", "megaflops", "megabytes"),
    [
        (0.75, 330.769, 4.894),
        (0.85, 222.666, 3.229),
        (0.9, 168.614, 2.396),
        (0.95, 114.563, 1.563),
    ],
)
def test_uniform_mobilenets_cost_what_rigl_says(sparsity, megaflops, megabytes):
    """Up to the rounding of the number of zeros in each layer."""
    found = as_rigl_counts_mobilenet()
    dense = {name for name in found if name == "conv1.weight" or "depthwise" in name}
    masks = uniform(found, sparsity, dense)
    assert rigl_flops(found, masks) / 1e6 == pytest.approx(megaflops, rel=3e-4)
    assert rigl_bytes(found, masks) / 1e6 == pytest.approx(megabytes, rel=3e-4)


def allowed(part):
    """Claims with an allowance, of suites with `part` in their names."""
    found = [c for c in available()["rigl"].claims if c.allowance and part in (c.suite or "")]
    assert all(claim.allowance > claim.metric.tolerance.share for claim in found)
    return found


def ours(build):
    """Multiply-accumulates by layer, which are all that counts here."""
    return {name: cost.macs for name, cost in costs(build, (3, 224, 224), 1000).items()}


def test_allowances_of_mobilenets_are_the_counted_differences():
    theirs, macs = as_rigl_counts_mobilenet(), ours(mobilenet_v1)
    dense = {name for name in theirs if name == "conv1.weight" or "depthwise" in name}
    assert len(allowed("mobilenet")) == 2
    for claim in allowed("mobilenet"):
        masks = uniform(theirs, 1 - claim.density, dense)
        counted = rigl_flops(theirs, masks) / inference_flops(macs, masks) - 1
        assert claim.allowance == pytest.approx(counted, abs=6e-4)


def test_allowances_of_whole_stems_are_the_counted_differences():
    theirs, macs = as_rigl_counts_resnet(), ours(resnet_50)
    masks = masks_of_resnet_50(theirs, "erk, dense stem", 0.99)
    ratio = rigl_flops(theirs, masks) / rigl_flops(theirs, DENSE)
    counted = ratio * 2 * sum(macs.values()) / inference_flops(macs, masks) - 1
    assert len(allowed("dense-stem")) == 5
    for claim in allowed("dense-stem"):
        assert claim.density == 0.01
        assert claim.allowance == pytest.approx(counted, abs=6e-4)


@pytest.mark.parametrize(
    ("sparsity", "megaflops", "megabytes"),
    [
        (0.75, 599.144, 4.888),
        (0.85, 439.152, 3.224),
        (0.9, 334.134, 2.392),
        (0.95, 205.281, 1.560),
    ],
)
def test_erk_mobilenets_cost_what_rigl_says(sparsity, megaflops, megabytes):
    """Up to the rounding of zeros; its figures have the first layer sparse, only depthwise dense.

    The classifier is a 1 x 1 convolution there, whose kernel enters the sum of dimensions.
    """
    found = as_rigl_counts_mobilenet()
    sizes = shapes(mobilenet_v1, (3, 224, 224), 1000)
    sizes["fc.weight"] += (1, 1)
    masks = erk(sizes, sparsity, left_out={name for name in found if "depthwise" in name})
    assert rigl_flops(found, masks) / 1e6 == pytest.approx(megaflops, rel=3e-4)
    assert rigl_bytes(found, masks) / 1e6 == pytest.approx(megabytes, rel=3e-4)


WIDE_RESNET = {
    0.5: (0.729, 0.729, 0.502),
    0.8: (0.353, 0.354, 0.203),
    0.9: (0.175, 0.175, 0.104),
    0.95: (0.089, 0.090, 0.054),
}
"""Sparsity -> inference with ERK over all layers, with a dense first layer, and uniform."""


@pytest.mark.parametrize("sparsity", WIDE_RESNET)
def test_wide_resnet_costs_what_is_measured_for_rigl(sparsity):
    found, sizes = costs(wrn_22_2, CIFAR, 10), shapes(wrn_22_2, CIFAR, 10)
    dense = rigl_flops(found, DENSE)
    assert dense == pytest.approx(3.1588e8, rel=1e-3)
    kinds = erk(sizes, sparsity), erk(sizes, sparsity, STEM), uniform(found, sparsity, STEM)
    ratios = [rigl_flops(found, masks) / dense for masks in kinds]
    assert ratios == pytest.approx(WIDE_RESNET[sparsity], abs=1e-3)


def test_a_perceptron_counts_by_hand():
    found = costs(lenet_300_100, MNIST, 10)
    assert rigl_flops(found, DENSE) == 2 * 266_200 + 410
    assert rigl_bytes(found, DENSE) == 4 * (266_200 + 410)
