"""Whole units are kept in rank order, never more weights than asked."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.select import kept_count, topk_masks
from pai_bench.sparsity.units import keep_units, per_filter

SHAPES = {"conv": (5, 2, 3, 3), "wide": (3, 7, 1, 1), "fc": (4, 6)}


def scores(seed, levels=50):
    generator = torch.Generator().manual_seed(seed)
    units = {"conv": (5, 1, 1, 1), "wide": (3, 1, 1, 1), "fc": (4, 6)}
    return {n: torch.randint(levels, u, generator=generator).float() for n, u in units.items()}


def by_hand(given, density, names):
    units = []
    for name in names:
        size = torch.Size(SHAPES[name]).numel() // given[name].numel()
        units += [
            (-float(v), len(units) + i, name, i, size) for i, v in enumerate(given[name].flatten())
        ]
    left = kept_count(sum(unit[-1] for unit in units), density)
    kept = {name: torch.zeros(given[name].numel(), dtype=torch.bool) for name in names}
    for _, _, name, index, size in sorted(units):
        left -= size
        if left < 0:
            break
        kept[name][index] = True
    return {n: kept[n].view(given[n].shape).expand(SHAPES[n]) for n in names}


@given(st.integers(0, 10**6), st.floats(0.01, 1), st.sampled_from(["global", "local"]))
def test_masks_are_those_of_a_loop(seed, density, scope):
    given_scores = scores(seed)
    found = keep_units(given_scores, SHAPES, density, scope)
    groups = [list(SHAPES)] if scope == "global" else [[name] for name in SHAPES]
    for names in groups:
        expected = by_hand(given_scores, density, names)
        assert all(torch.equal(found[name], expected[name]) for name in names)


@given(st.integers(0, 10**6), st.floats(0.01, 1), st.sampled_from(["global", "local"]))
def test_single_weights_are_those_of_keep_top(seed, density, scope):
    generator = torch.Generator().manual_seed(seed)
    full = {n: torch.randint(9, s, generator=generator).float() for n, s in SHAPES.items()}
    one, other = keep_units(full, SHAPES, density, scope), topk_masks(full, density, scope=scope)
    assert all(torch.equal(one[name], other[name]) for name in SHAPES)


def test_norms_are_per_filter():
    weight = torch.randn(3, 2, 2, 2)
    assert per_filter(weight).shape == (3, 1, 1, 1)
    assert torch.allclose(per_filter(weight).flatten(), weight.flatten(1).norm(dim=1))


def test_what_cannot_be_ranked_is_named():
    with pytest.raises(BenchError, match="scores of fc are not finite"):
        keep_units({**scores(0), "fc": torch.full((4, 6), torch.nan)}, SHAPES, 0.5)
