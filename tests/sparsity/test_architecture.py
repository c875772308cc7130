"""Architectures that are left, by hand, by paths, and as RigL's table 2 prints them."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.account import effective
from pai_bench.sparsity.architecture import compact, final_architecture
from pai_bench.sparsity.masks import Masks, prunable


def mask(*rows):
    return torch.tensor(rows).bool()


def test_dead_neurons_are_removed_until_none_is_left():
    """Neuron 1 of the first layer feeds only neuron 2 of the second, which nothing reads."""
    masks = {
        "a": mask([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]),
        "b": mask([1, 0, 1], [0, 0, 1], [0, 1, 0]),
        "c": mask([1, 1, 0], [0, 1, 0]),
    }
    found = final_architecture(masks)
    assert found.units == (1, 1, 1, 2)
    assert str(found) == "1-1-1"
    assert (found.kept, found.total, found.flops) == (3, 4, 6)
    assert found.sparsity == 0.25
    assert found.bytes == 4 * (3 + 4) + 2 / 8  # the last layer, 1 of 2, is sparse
    assert compact(masks)["c"].tolist() == [[True], [False]]


@pytest.mark.parametrize("seed", range(8))
def test_what_is_left_are_the_weights_on_paths(seed):
    sizes = (12, 9, 7, 5)
    layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    network = nn.Sequential(*layers[:-1])
    random = torch.Generator().manual_seed(seed)
    masks = Masks({n: torch.rand(w.shape, generator=random) < 0.15 for n, w in prunable(network)})
    before = {name: kept.clone() for name, kept in masks.items()}
    reached = effective(network, masks, sizes[:1])
    found = final_architecture(masks)
    assert found.kept == reached.kept
    assert compact(masks).kept_by_layer() == reached.kept_by_layer()
    used = [int(reached[n].any(0).sum()) for n in reached]
    assert found.units == (*used, sizes[-1])
    assert all(torch.equal(before[name], kept) for name, kept in masks.items())


def with_kept(units, kept_by_layer):
    """Masks of a dense architecture from which the last weights are taken, no neuron dying."""
    masks = {}
    for index, ((into, out), kept) in enumerate(zip(pairwise(units), kept_by_layer, strict=True)):
        position = torch.arange(into * out)
        # Every neuron keeps an edge: position p is at (p mod out, p mod in) first.
        chosen = torch.zeros(out, into, dtype=torch.bool)
        first = torch.arange(max(into, out))
        chosen[first % out, first % into] = True
        free = position[~chosen.flatten()]
        chosen.view(-1)[free[: kept - int(chosen.sum())]] = True
        assert int(chosen.sum()) == kept
        masks[f"fc{index + 1}"] = chosen
    return masks


TABLE = {
    "RigL": ((408, 100, 69, 10), (2349, 3270, 690), 0.870, 12.6, 31_914),
    "RigL+": ((375, 62, 51, 10), (1632, 938, 510), 0.886, 6.2, 16_113),
    "SBP": ((245, 160, 55, 10), (39_200, 8800, 550), 0.0, 97.1, 195_100),
    "L0": ((266, 88, 33, 10), (23_408, 2904, 330), 0.0, 53.3, 107_092),
    "VIB": ((97, 71, 33, 10), (6887, 2343, 330), 0.0, 19.1, 38_696),
}
"""Units, kept weights, sparsity, inference in kFLOPs, bytes (of which halves are cut off)."""


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_rigl_comes_out(name):
    units, kept, sparsity, kiloflops, size = TABLE[name]
    found = final_architecture(with_kept(units, kept))
    assert found.units == units
    assert found.sparsity == pytest.approx(sparsity, abs=5e-4)
    assert found.flops / 1000 == pytest.approx(kiloflops, abs=0.05)
    assert int(found.bytes) == size


def test_a_broken_network_has_nothing_but_outputs():
    found = final_architecture({"a": mask([1, 1]), "b": mask([0], [0])})
    assert (found.units, found.kept, found.sparsity) == ((0, 0, 2), 0, 0.0)


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        ({}, "only the masks of linear layers"),
        ({"conv": torch.ones(2, 1, 3, 3).bool()}, "only the masks of linear layers"),
        ({"a": mask([1, 1]), "b": mask([1, 1])}, "b reads 2 units, there are 1"),
    ],
)
def test_other_networks_have_no_such_architecture(masks, says):
    with pytest.raises(BenchError, match=says):
        final_architecture(masks)
