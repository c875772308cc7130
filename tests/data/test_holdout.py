"""The validation split: stratified, disjoint, complete, the same each time."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pai_bench.data.holdout import split


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=200),
    fraction=st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.9]),
)
def test_every_image_is_on_one_side_and_each_class_gives_its_share(labels, fraction):
    given_ = torch.tensor(labels)
    train, held = split(given_, fraction)
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(len(labels)))
    assert train.tolist() == sorted(train.tolist())
    for label in set(labels):
        assert int((given_[held] == label).sum()) == round(fraction * labels.count(label))
    again = split(given_, fraction)
    assert torch.equal(again[0], train)
    assert torch.equal(again[1], held)


def test_it_does_not_depend_on_global_random_state():
    labels = torch.arange(1000) % 10
    torch.manual_seed(1)
    first = split(labels, 0.1)[1]
    torch.manual_seed(2)
    assert torch.equal(split(labels, 0.1)[1], first)


def test_images_are_not_simply_the_first_ones():
    held = split(torch.zeros(1000, dtype=torch.long), 0.1)[1]
    assert held.min() < 100
    assert held.max() > 900
