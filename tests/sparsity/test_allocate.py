"""Densities by layer: RigL's own tables to 1e-12, published figures, and the exact total."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pai_bench import networks
from pai_bench.core.errors import BenchError
from pai_bench.sparsity import allocate
from pai_bench.sparsity.masks import layers
from pai_bench.sparsity.select import topk_masks

GOLDEN = Path(__file__).parents[1] / "golden" / "rigl" / "rigl_erk_official.json"
OFFICIAL = json.loads(GOLDEN.read_text())
RULES = {
    "erdos_renyi": allocate.erdos_renyi,
    "erdos_renyi_kernel": allocate.erdos_renyi_kernel,
}
NETWORKS = {
    "resnet50": ("resnet-50", "imagenet-1k"),
    "wrn22_2": ("wrn-22-2", "cifar10"),
    "lenet300100": ("lenet-300-100", "mnist"),
    "mobilenetv1": ("mobilenet-v1", "imagenet-1k"),
}


@pytest.fixture(scope="module")
def shapes(settings):
    """Shapes of all conv and linear weights of the networks of the tables, in module order."""
    import torch

    found = {}
    for key, (name, data) in NETWORKS.items():
        chosen = settings.data[data]
        with torch.device("meta"):
            network = networks.build(settings.networks[name], chosen.shape, chosen.classes)
        found[key] = {n: tuple(layer.weight.shape) for n, layer in layers(network)}
    return found


@pytest.mark.parametrize("key", OFFICIAL)
def test_the_tables_of_the_official_code_are_met(key, shapes):
    which, sparsity, rule, kept = key.split("|")
    ours, table = shapes[which], list(OFFICIAL[key].items())
    depthwise = {n for n in ours if which == "mobilenetv1" and n.endswith("depthwise")}
    free = {name: shape for name, shape in ours.items() if name not in depthwise}
    official = [(name, s) for name, s in table if "dw" not in name and "depth" not in name]
    assert len(official) == len(free), (official, list(free))
    dense = [next(iter(free))] if kept == "first_dense" else []
    found = RULES[rule](free, 1 - float(sparsity), dense)
    # Layers of one shape share a density; the order of shortcuts differs between the codes.
    assert sorted(1 - d for d in found.values()) == pytest.approx(
        sorted(s for _, s in official), abs=1e-12
    )
    in_order = [1 - d for d in found.values()]
    assert in_order[0] == pytest.approx(official[0][1], abs=1e-12)
    assert in_order[-1] == pytest.approx(official[-1][1], abs=1e-12)


PUBLISHED = {  # Sparsities by layer of small shapes, two decimals (JaxPruner's tests).
    ("erdos_renyi_kernel", 0.5): (0.0, 0.31, 0.655),
    ("erdos_renyi", 0.5): (0.21, 0.47, 0.56),
    ("erdos_renyi_kernel", 0.2): (0.556, 0.70, 0.85),
}


@pytest.mark.parametrize(("rule", "density"), PUBLISHED)
def test_small_published_cases(rule, density):
    found = RULES[rule]({"a": (4, 2), "b": (6, 3), "c": (6, 4, 2)}, density)
    expected = PUBLISHED[rule, density]
    assert [1 - d for d in found.values()] == pytest.approx(expected, abs=0.006)


shape = st.lists(st.integers(1, 12), min_size=2, max_size=4).map(tuple)


@given(st.lists(shape, min_size=1, max_size=6), st.floats(0.01, 1))
def test_no_density_exceeds_one_and_the_total_is_that_of_the_grid(given_, density):
    named = {f"layer{i}": s for i, s in enumerate(given_)}
    sizes = {name: math.prod(s) for name, s in named.items()}
    for rule in RULES.values():
        found = rule(named, density)
        assert all(0 <= d <= 1 + 1e-12 for d in found.values())
        kept = sum(d * sizes[name] for name, d in found.items())
        wanted = sum(n - math.floor((1 - density) * n) for n in sizes.values())
        assert kept == pytest.approx(wanted)


@given(st.lists(shape, min_size=2, max_size=5), st.floats(0.01, 1))
def test_dense_layers_are_not_made_up_for(given_, density):
    named = {f"layer{i}": s for i, s in enumerate(given_)}
    rest = {name: s for name, s in named.items() if name != "layer0"}
    for rule in RULES.values():
        assert rule(named, density, ["layer0"]) == {"layer0": 1.0, **rule(rest, density)}


def test_rounding_up_the_zeros_keeps_fewer():
    named = {"a": (7, 3), "b": (5, 5, 3, 3)}
    floor = allocate.erdos_renyi_kernel(named, 0.11)
    ceil = allocate.erdos_renyi_kernel(named, 0.11, rounding="ceil")
    assert all(ceil[name] < floor[name] for name in named)


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1, math.nan])
def test_an_impossible_density_is_refused(density):
    with pytest.raises(BenchError, match="impossible"):
        allocate.erdos_renyi({"a": (2, 2)}, density)


def test_an_unknown_dense_layer_is_named():
    with pytest.raises(BenchError, match='no layer is called "b"; known: a'):
        allocate.erdos_renyi_kernel({"a": (2, 2)}, 0.5, ["b"])


@pytest.mark.parametrize(
    ("density", "kept"),
    [
        (0.0347257, (4704, 3540, 1000)),
        (0.024876, (2352, 3270, 1000)),
        (0.0544252, (9408, 4080, 1000)),
    ],
)
def test_lenet_is_thinned_as_in_rigls_protocol(density, kept):
    """Sparsity 0.98, 0.99 and 0.96 of the first layer, 0.9 times that of the second."""
    shapes = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}
    scores = {name: torch.rand(shape) for name, shape in shapes.items()}
    found = topk_masks(scores, density, scope="rigl-mnist").kept_by_layer()
    assert tuple(found.values()) == kept
    assert sum(kept) / 266_200 == pytest.approx(density, rel=1e-4)


def test_what_the_last_layer_leaves_no_room_for_is_refused():
    shapes = {"fc1": (2, 100), "fc2": (50, 2)}
    assert allocate.rigl_mnist(shapes, 0.5) == pytest.approx({"fc1": 0.25, "fc2": 1.0})
    assert allocate.rigl_mnist({"fc": (2, 3)}, 0.5) == {"fc": 0.5}
    with pytest.raises(BenchError, match="leaves more than that"):
        allocate.rigl_mnist(shapes, 0.3)


@pytest.mark.parametrize(
    ("rule", "arguments", "says"),
    [
        (allocate.uniform, ({"a": (4, 3)}, 10.0), "density 10 is impossible"),
        (allocate.uniform, ({"a": (4, 3)}, float("nan")), "density nan is impossible"),
        (allocate.uniform, ({"a": (4, 3)}, 0.5, ["none"]), 'no layer is called "none"'),
        (allocate.erdos_renyi, ({"a": (4, 3)}, 0.5, (), "Floor"), 'did you mean "floor"?'),
        (allocate.erdos_renyi, ({"a": (3,)}, 0.5), "a: shape (3,) has no inputs and outputs"),
        (allocate.erdos_renyi_kernel, ({"a": (3, 0)}, 0.5), "a: shape (3, 0) holds no weight"),
        (allocate.rigl_mnist, ({"a": (0, 3)}, 0.5), "a: shape (0, 3) holds no weight"),
    ],
)
def test_what_cannot_be_allocated_is_refused(rule, arguments, says):
    with pytest.raises(BenchError, match=re.escape(says)):
        rule(*arguments)
