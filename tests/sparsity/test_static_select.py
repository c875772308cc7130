"""Selection by operations of static shape keeps what the ordinary selection keeps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pai_bench.sparsity import regrow, select, static_select
from pai_bench.sparsity.regrow import drop_and_grow
from pai_bench.sparsity.select import topk_masks

few_values = st.lists(st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0]), min_size=2, max_size=12)


@pytest.fixture
def as_on_xla(monkeypatch):
    """Let selection do with tensors of the CPU what it does on an XLA device: as_on_xla(call)."""

    def run(call, *arguments, **options):
        with monkeypatch.context() as patch:
            for module in (select, regrow):
                patch.setattr(module, "is_xla", lambda _tensor: True)
            return call(*arguments, **options)

    return run


@given(values=few_values, data=st.data())
def test_the_largest_are_the_same_with_ties(values, data):
    flat = torch.tensor(values)
    keep = data.draw(st.integers(0, len(values)))
    marks = st.lists(st.booleans(), min_size=len(values), max_size=len(values))
    first = data.draw(st.none() | marks.map(torch.tensor))
    found = static_select.keep_largest(flat, keep, first)
    assert torch.equal(found, select.keep_largest(flat, keep, first))
    rank = max(1, keep)
    assert float(static_select.kth_smallest(flat, rank)) == float(select.kth_smallest(flat, rank))


@pytest.mark.parametrize("rule", ["exact", "strict", "above", "histogram"])
@pytest.mark.parametrize("density", [0.0001, 0.3, 0.9999])
def test_masks_are_the_same_by_every_rule(rule, density, as_on_xla):
    generator = torch.Generator().manual_seed(0)
    scores = {n: torch.rand(4, n, generator=generator).mul(9).round() for n in (3, 50)}
    scores = {f"w{n}": score for n, score in scores.items()}
    ordinary = topk_masks(scores, density, rule=rule)
    static = as_on_xla(topk_masks, scores, density, rule=rule)
    assert all(torch.equal(mask, static[name]) for name, mask in ordinary.items())


@pytest.mark.parametrize(("drop", "grow"), [(0, None), (3, None), (3, 1), (10, 4)])
def test_updates_are_the_same(drop, grow, as_on_xla):
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(30, dtype=torch.bool)
    mask[torch.randperm(30, generator=generator)[:10]] = True
    weight = torch.randn(30, generator=generator).round() * mask
    growth = torch.rand(30, generator=generator).mul(4).round()
    arguments = tuple(tensor.view(5, 6) for tensor in (weight, mask, growth))
    ordinary = drop_and_grow(*arguments, drop, grow)
    assert torch.equal(as_on_xla(drop_and_grow, *arguments, drop, grow), ordinary)
