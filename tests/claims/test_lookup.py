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


def test_columns_that_are_no_densities_are_measured_at_one_density(settings, methods, tmp_path):
    of_curve = [c for c in available()["ntt"].claims if c.block == "mnist-mlp-curve"]
    claim = next(c for c in of_curve if c.at == "501" and c.printed_name == "Random")
    assert (claim.density, claim.column) == (0.03, "501")
    cells = grid.cells(settings, methods, claim.suite)
    label = ResultLookup(settings, methods, []).label(claim.method, claim.suite)
    line = [cell for cell in cells if cell.label == label]
    for cell in line:
        after = {"101": 0.5, "501": 0.8 + cell.seed / 100}
        Store(tmp_path, claim.suite).put(cell, replace(TRAINED, accuracy_after=after))
    values = ResultLookup(settings, methods, [tmp_path]).values(claim, claim.method, claim.suite)
    assert values == pytest.approx({seed: 80.0 + seed for seed in range(1, len(line) + 1)})
    (later,) = [c for c in of_curve if c.at == "1001" and c.printed_name == "Random"]
    measured = ResultLookup(settings, methods, [tmp_path])
    assert measured.values(later, later.method, later.suite) == NOT_YET


def test_what_a_method_measured_is_found_by_row_and_column(settings, methods, tmp_path):
    claims = {c.id: c for c in available()["dessilbi"].claims}
    suite = "dessilbi-mnist-dense"
    (first, *_) = grid.cells(settings, methods, suite)
    measured = {
        "accuracy": {"weights": 0.98, "projected": 0.97, "sparse-copy": 0.96},
        "support": {"conv3": 90, "total": 40000},
        "entered": {"conv3": {"0": 60, "never": 30}, "fc1": {"0": 7}},
        "large": {"conv3": 95, "fc1": 500},
        "pruned": {"conv3": {"80": [0.95, 24]}, "conv3+fc1": {"80": [0.94, 24, 2000]}},
    }
    Store(tmp_path, suite).put(first, replace(TRAINED, measured=measured))
    lookup = ResultLookup(settings, methods, [tmp_path])
    expected = {
        "checkpoint/DessiLBI/projected": 97.0,
        "checkpoint-support/DessiLBI/total": 40000,
        "checkpoint-entry/fc1/0": 7,
        "checkpoint-entry/conv3/1": 0,
        "checkpoint-entry-late/conv3/never": 30,
        "pruned-by-order/DessiLBI/80": 95.0,
        "pruned-by-order-filters/DessiLBI/80": 24,
        "pruned-by-order-with-fc1/DessiLBI/80": 94.0,
        "pruned-by-order-with-fc1-weights/DessiLBI/80": 2000,
    }
    for name, value in expected.items():
        claim = claims[name]
        found = lookup.values(claim, claim.method, claim.suite)
        assert found == {first.seed: pytest.approx(value)}, name
    missing = claims["pruned-by-order/DessiLBI/90"]
    assert lookup.values(missing, missing.method, missing.suite) == NOT_YET
