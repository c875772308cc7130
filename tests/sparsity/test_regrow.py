"""Drop and grow: the rule weight by weight, and when it is applied."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_bench.sparsity.regrow import Schedule, drop_and_grow, moved_count, shared_out

many = settings(max_examples=60, deadline=None, derandomize=True)
few_values = st.sampled_from([0.0, -0.0, -1.0, 0.5, 3.0])
numbers = few_values | st.floats(-10, 10, width=32)


@pytest.mark.parametrize(
    ("end", "steps", "first", "expected"),
    [(25_000, 32_000, 0, 251), (75_000, 97_656, 0, 751), (25_000, 32_000, 1, 250)],
)
def test_updates_are_as_many_as_in_the_authors_code(end, steps, first, expected):
    schedule = Schedule(alpha=0.3, delta_t=100, end=end)
    due = [step for step in range(steps + 1) if schedule.due(step, first)]
    assert (len(due), due[0], due[1]) == (expected, first, first + 100)


def test_cosine_falls_from_alpha_to_nothing():
    schedule = Schedule(alpha=0.3, delta_t=100, end=1000)
    for step in range(0, 1001, 50):
        expected = 0.15 * (1 + math.cos(math.pi * step / 1000))
        assert schedule.fraction(step) == pytest.approx(expected, abs=1e-7)
    assert moved_count(10**6, schedule.fraction(1000)) == 0


@pytest.mark.parametrize(("anneal", "power", "half"), [
    ("constant", 1, 0.4), ("power", 1, 0.2), ("power", 3, 0.05),
])  # fmt: skip
def test_other_anneals(anneal, power, half):
    schedule = Schedule(alpha=0.4, delta_t=1, end=10, anneal=anneal, power=power)
    assert schedule.fraction(0) == pytest.approx(0.4)
    assert schedule.fraction(5) == pytest.approx(half)


def test_what_moves_is_truncated_in_float32():
    """0.2 is a little more than 1/5 in float32; half of 0.4, by the authors' cosine, a little less.

    The second number decides a mask of the golden vectors.
    """
    assert moved_count(15, 0.2) == 3
    assert moved_count(15, Schedule(alpha=0.4, delta_t=4, end=8).fraction(4)) == 2


@st.composite
def updates(draw):
    """Weights with exact zeros, a mask, growth scores with ties, and how many to drop."""
    size = draw(st.integers(1, 40))
    mask = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    weight = draw(st.lists(numbers, min_size=size, max_size=size))
    growth = draw(st.lists(numbers.map(abs), min_size=size, max_size=size))
    drop = draw(st.integers(0, sum(mask)))
    return [w * m for w, m in zip(weight, mask, strict=True)], mask, growth, drop


@many
@given(updates())
def test_an_update_is_what_sorting_says(update):
    weight, mask, growth, drop = update
    active = sorted((i for i in range(len(mask)) if mask[i]), key=lambda i: -abs(weight[i]))
    kept = active[: len(active) - drop]
    free = sorted((i for i in range(len(mask)) if i not in kept), key=lambda i: -growth[i])
    expected = {*kept, *free[:drop]}
    found = drop_and_grow(
        torch.tensor(weight), torch.tensor(mask), torch.tensor(growth), drop
    ).tolist()
    assert {i for i, chosen in enumerate(found) if chosen} == expected
    assert sum(found) == sum(mask)


def test_only_kept_weights_survive_though_they_are_exactly_zero():
    """In the authors' code others take their places, and come with values from long ago."""
    mask = torch.arange(600) % 5 == 0
    growth = torch.arange(600.0)
    found = drop_and_grow(torch.zeros(600), mask, growth, drop=11)
    assert found.sum() == 120
    assert (found & ~mask).sum() == 11 - int(mask[-11:].sum())
    assert found[-11:].all()


def test_more_or_fewer_may_be_grown_than_are_dropped():
    weight, mask = torch.ones(10), torch.arange(10) < 5
    for grow in (0, 3, 7):
        assert drop_and_grow(weight, mask, torch.ones(10), 2, grow).sum() == 3 + grow


shares = st.lists(st.tuples(st.floats(0, 5), st.integers(0, 30)), min_size=1, max_size=6)


@many
@given(shares, st.integers(0, 100))
def test_all_that_fits_is_shared_out(layers, total):
    names = [str(i) for i in range(len(layers))]
    share = dict(zip(names, (s for s, _ in layers), strict=True))
    room = dict(zip(names, (r for _, r in layers), strict=True))
    given_ = shared_out(total, share, room)
    assert sum(given_.values()) == min(total, sum(room.values()))
    assert all(0 <= given_[name] <= room[name] for name in names)


def test_shares_are_in_proportion():
    assert shared_out(100, {"a": 1.0, "b": 4.0}, {"a": 99, "b": 99}) == {"a": 20, "b": 80}
    assert shared_out(100, {"a": 1.0, "b": math.nan}, {"a": 50, "b": 99}) == {"a": 50, "b": 50}
