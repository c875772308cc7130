"""Bundles: what cells share, and that they change nothing but how work is done."""

from dataclasses import replace

import pytest
import torch

from pai_bench.core.errors import BenchError
from pai_bench.experiment.bundle import SHARED, Bundle, bundles
from pai_bench.training import build


@pytest.fixture
def cells(quick):
    """Two methods at two densities and seeds."""
    return quick(methods=("snip", "random"), densities=(0.2, 0.1), seeds=(1, 2))


def test_a_bundle_of_one_has_the_id_of_its_cell(cells):
    assert Bundle((cells[0],)).id == cells[0].id


def test_the_id_of_several_depends_on_all_of_them(cells):
    ids = {Bundle(tuple(cells)).id, Bundle(tuple(cells[::-1])).id, Bundle(tuple(cells[:2])).id}
    assert len(ids) == 3
    assert all(len(bundle_id) == 12 for bundle_id in ids)


OTHERS = {
    "network": "lenet-5", "network_version": 7, "data": "mnist", "digest": "0", "mean": (0.5,),
    "std": (0.5,), "precision": "64-true",
}  # fmt: skip


@pytest.mark.parametrize("field", SHARED)
def test_what_a_bundle_shares_must_be_the_same(field, cells):
    recipe = cells[0].recipe.model_copy(update={"lr": 9.0})
    other = replace(cells[1], **{field: OTHERS.get(field, recipe)})
    with pytest.raises(BenchError, match=f"differ in {field}"):
        Bundle((cells[0], other))


def test_an_empty_bundle_is_refused():
    with pytest.raises(BenchError, match="at least one cell"):
        Bundle(())


@pytest.mark.parametrize(("size", "count"), [(1, 16), (3, 6), (16, 1), (100, 1)])
def test_cells_are_cut_in_their_order_and_none_is_lost(size, count, cells):
    cut = bundles(cells, size)
    assert len(cut) == count
    assert [cell for bundle in cut for cell in bundle] == cells


def test_cells_that_share_nothing_stay_apart(cells):
    mixed = [cells[0], replace(cells[1], network="lenet-5"), cells[2]]
    assert [bundle.cells for bundle in bundles(mixed, 8)] == [(mixed[0], mixed[2]), (mixed[1],)]


def test_networks_of_a_bundle_share_images_and_have_their_own_order(cells, settings):
    first, second = cells[0], next(cell for cell in cells if cell.seed == 2)
    shared = build.build_data(Bundle((first, second)), settings)
    assert shared[0].images is shared[1].images
    for cell, data in zip((first, second), shared, strict=True):
        (alone,) = build.build_data(Bundle((cell,)), settings)
        pairs = zip(data.train_dataloader(), alone.train_dataloader(), strict=True)
        assert all(torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in pairs)
