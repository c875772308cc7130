"""What is measured of a claim, where some results hold less than others."""

from dataclasses import replace

import pytest

from pai_bench.claims.lookup import NOT_YET, ResultLookup
from pai_bench.claims.parser import available
from pai_bench.experiment import grid
from pai_bench.store.result import Accuracy, Flops, Result
from pai_bench.store.store import Store

SUITE = "rigl-cifar10"


@pytest.fixture
def claims():
    """A claim about FLOPs, and one about an accuracy, of RigL in one suite."""
    of_suite = [c for c in available()["rigl"].claims if c.suite == SUITE and c.metric]
    flops = next(c for c in of_suite if c.metric.name == "inference-flops")
    error = next(c for c in of_suite if c.metric.name == "accuracy" and c.method == flops.method)
    return flops, replace(error, at=flops.at)


@pytest.fixture
def cell(settings, methods, claims):
    label = ResultLookup(settings, methods, []).label(claims[0].method, SUITE)
    cells = grid.cells(settings, methods, SUITE)
    return next(c for c in cells if c.label == label and claims[0].is_at(c.density))


COUNTED = Result("counted", "FLOPs were counted", flops=Flops(2.0, 1.0, 0.0, 5.0))
TRAINED = Result("done", accuracy=Accuracy(0.9, 0.9, 1), flops=Flops(2.0, 0.5, 0.0, 5.0))


def test_what_is_counted_tells_flops_and_no_accuracy(cell, claims, settings, methods, tmp_path):
    Store(tmp_path, SUITE).put(cell, COUNTED)
    measured = ResultLookup(settings, methods, [tmp_path])
    flops, accuracy = (measured.values(claim, claim.method, SUITE) for claim in claims)
    assert flops == {cell.seed: 0.5}
    assert accuracy == NOT_YET


@pytest.mark.parametrize("first", ["counted", "trained"])
def test_a_training_goes_before_what_was_counted(first, cell, claims, settings, methods, tmp_path):
    Store(tmp_path / "counted", SUITE).put(cell, COUNTED)
    Store(tmp_path / "trained", SUITE).put(cell, TRAINED)
    folders = sorted([tmp_path / "counted", tmp_path / "trained"], key=lambda f: f.name != first)
    measured = ResultLookup(settings, methods, folders)
    flops, accuracy = (measured.values(claim, claim.method, SUITE) for claim in claims)
    assert (flops, accuracy) == ({cell.seed: 0.25}, {cell.seed: 90.0})


def test_what_was_counted_is_not_copied_as_a_result(cell, tmp_path):
    Store(tmp_path, SUITE).put(cell, COUNTED)
    assert not Store(tmp_path, "other").copy_from(cell)
    Store(tmp_path, SUITE).put(cell, TRAINED)
    assert Store(tmp_path, "other").copy_from(cell)
