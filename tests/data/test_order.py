"""The order of streamed images: every image once, whoever reads it."""

import hashlib
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_bench.core.errors import BenchError
from pai_bench.data.order import (
    BLOCK_IMAGES,
    LANES,
    PIECE_IMAGES,
    batch_count,
    batches,
    in_order,
    part,
    pieces,
    shuffled,
)

ROWS = st.lists(st.integers(1, 60), min_size=1, max_size=40).map(np.array)
HUB = np.full(300, 100)
"""A data set like the hub's ImageNet: 100 images in a row group."""


def numbers(plan):
    return [int(n) for batch in plan for piece in batch for n in piece.numbers]


@given(rows=ROWS, seed=st.integers(0, 2**63 - 1))
def test_the_order_is_a_permutation_and_a_function_of_the_seed(rows, seed):
    order = shuffled(rows, seed)
    assert sorted(order.numbers.tolist()) == list(range(rows.sum()))
    assert np.array_equal(order.numbers, shuffled(rows, seed).numbers)


def test_seeds_differ_and_the_order_is_random():
    one, other = shuffled(HUB, 1).numbers, shuffled(HUB, 2).numbers
    assert (one == other).mean() < 0.01
    place = np.arange(len(one))
    assert abs(np.corrcoef(place, one)[0, 1]) < 0.2
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.2


def test_the_order_is_pinned():
    order = shuffled(np.array([3, 5, 4]), 7)
    digest = hashlib.sha256(shuffled(HUB, 7).numbers.astype("<i8").tobytes()).hexdigest()
    assert order.numbers.tolist() == PINNED
    assert digest.startswith(DIGEST)


PINNED = [8, 4, 6, 3, 0, 11, 7, 2, 5, 9, 10, 1]
DIGEST = "ac1a2101252795d9"


def test_images_are_mixed_within_blocks_of_whole_row_groups():
    order = shuffled(HUB, 3)
    groups = order.numbers // 100
    for block in np.unique(order.blocks):
        places = np.flatnonzero(order.blocks == block)
        assert len(places) == 100 * order.per_block
        assert set(groups[places].tolist()) == set(order.groups_at(int(places[0])).tolist())
        assert len(set(groups[places[:50]].tolist())) == order.per_block
    assert order.per_block == round(BLOCK_IMAGES / 100)


@settings(deadline=None)
@given(rows=ROWS, size=st.integers(1, 90), ranks=st.integers(1, 9), seed=st.integers(0, 1000))
def test_ranks_share_the_images_and_step_equally_often(rows, size, ranks, seed):
    order, images = shuffled(rows, seed), int(rows.sum())
    if images < ranks:
        with pytest.raises(BenchError, match="cannot be divided"):
            batches(order, size, 0, 0, ranks)
        return
    plans = [batches(order, size, 0, rank, ranks) for rank in range(ranks)]
    parts = [numbers(plan) for plan in plans]
    assert sorted(n for part in parts for n in part) == list(range(images))
    assert {len(part) for part in parts} <= {images // ranks, ceil(images / ranks)}
    assert {len(plan) for plan in plans} == {batch_count(images, size, ranks)}
    start = 0
    for own in parts:  # contiguous in the order
        assert sorted(own) == sorted(order.numbers[start : start + len(own)].tolist())
        start += len(own)


@settings(deadline=None)
@given(rows=ROWS, size=st.integers(1, 90), ranks=st.integers(1, 3))
def test_batches_are_full_but_for_the_last(rows, size, ranks):
    images = int(rows.sum())
    if images < ranks:
        return
    for rank in range(ranks):
        plan = batches(shuffled(rows, 0), size, 0, rank, ranks)
        sizes = [sum(len(piece.numbers) for piece in batch) for batch in plan]
        assert set(sizes[:-1]) <= {size}
        assert 1 <= sizes[-1] <= size + (ranks > 1)
        for batch in plan:
            of_batch = [len(piece.numbers) for piece in batch]
            assert max(of_batch) <= PIECE_IMAGES
            assert max(of_batch) - min(of_batch) <= 1


@pytest.mark.parametrize("ranks", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("size", [1, 7, 256, 448])
@pytest.mark.parametrize("keep_order", [False, True])
def test_the_parts_of_a_batch_are_the_batch(ranks, size, keep_order):
    for batch in batches(shuffled(np.full(9, 100), 1), size):
        parts = [part(batch, rank, ranks, keep_order) for rank in range(ranks)]
        found = [n for of_rank in parts for n in numbers([of_rank])]
        assert sorted(found) == sorted(numbers([batch]))
        if keep_order:
            assert found == numbers([batch])
        sizes = [len(numbers([of_rank])) for of_rank in parts]
        assert max(sizes) - min(sizes) <= max(1, len(batch) // ranks)


def test_ranks_that_divide_the_pieces_of_a_batch_read_lanes_of_their_own():
    plan = batches(shuffled(np.full(1500, 100), 1), 256)
    for rank in range(4):
        lanes = {piece.lane for batch in plan[:-1] for piece in part(batch, rank, 4)}
        assert lanes == set(range(rank, LANES, 4))


def test_one_rank_has_as_many_batches_as_anyone_would_count():
    assert [batch_count(images, 10) for images in (1, 9, 10, 11, 100, 101)] == [1, 1, 1, 2, 10, 11]


def test_in_order_means_in_order():
    order = in_order(np.array([3, 2, 4]))
    assert order.numbers.tolist() == list(range(9))
    assert order.blocks.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert sorted(numbers(batches(order, 4))) == list(range(9))


def reads(plan, workers):
    """Row groups read by workers that take pieces in turn and keep what they are told to."""
    kept = [{} for _ in range(workers)]
    read = most = 0
    for turn, piece in enumerate(piece for batch in plan for piece in batch):
        mine = kept[turn % workers]
        held, needed = mine.pop(piece.lane, set()), set((piece.numbers // 100).tolist())
        read += len(needed - held)
        mine[piece.lane] = (held | needed) & set(piece.keep.tolist())
        most = max(most, sum(len(groups) for lanes in kept for groups in lanes.values()))
    return read, most


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 6, 8, 12, 24])
def test_each_row_group_is_read_about_once(workers):
    order = shuffled(np.full(1500, 100), 1)
    read, most = reads(batches(order, 250), workers)
    assert read <= 1.1 * 1500
    assert most <= LANES * order.per_block


@pytest.mark.parametrize(("workers", "times"), [(16, 2), (5, 5), (10, 5), (32, 4)])
def test_row_groups_are_read_by_few_where_workers_do_not_divide_the_lanes(workers, times):
    order = shuffled(np.full(1500, 100), 1)
    read, most = reads(batches(order, 256), workers)
    assert read <= (times + 0.6) * 1500
    assert most <= (times + 1) * LANES * order.per_block


def test_evaluation_reads_each_row_group_about_once():
    read, _ = reads(batches(in_order(HUB), 256), 8)
    assert read <= len(HUB) + 2 * LANES


def test_pieces_of_chosen_images_keep_their_order():
    chosen = np.random.default_rng(0).permutation(1000)[:75]
    cut = pieces(chosen, 5)
    assert numbers([cut]) == chosen.tolist()
    assert [len(piece.numbers) for piece in cut] == [25, 25, 25]
    assert {piece.seed for piece in cut} == {5}
