"""What is told while networks train: every point of every curve, once."""

import pytest

from pai_bench.experiment.bundle import Bundle
from pai_bench.training import fit
from pai_bench.training.checkpoint import TrainingCheckpoint

SIZES = pytest.mark.parametrize("size", [1, 2], ids=["alone", "together"])


@pytest.fixture
def bundle(size, quick):
    cells = quick(methods=("random", "snip"), densities=(0.1,), seeds=(1,), epochs=3)
    return Bundle(tuple(cells[-size:]))


def told_of(progress, cell):
    """Curves of a cell as its points tell them."""
    points = [point for each in progress for point in each.points if point.cell == cell.id]
    assert [point.epoch for point in points] == [1, 2, 3]
    return {name: [point.values[name] for point in points] for name in points[0].values}


@SIZES
def test_the_points_that_are_told_are_the_curves_that_are_stored(size, bundle, settings):
    told = []
    outcomes = fit.fit(bundle, settings, on_progress=told.append)
    for cell, outcome in zip(bundle, outcomes, strict=True):
        assert told_of(told, cell) == outcome.curves
    assert [(each.epoch, len(each.points)) for each in told if not each.message] == [
        (0, 0), (1, size), (2, size), (3, size),
    ]  # fmt: skip


@SIZES
def test_a_training_that_resumes_tells_what_was_told_before_too(
    size, bundle, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(TrainingCheckpoint, "every", 0.0)
    told = []

    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.fit(bundle, settings, on_progress=stop, runs=tmp_path)
    outcomes = fit.fit(bundle, settings, on_progress=told.append, runs=tmp_path)
    for cell, outcome in zip(bundle, outcomes, strict=True):
        assert outcome.result.environment["resumed"] == 1
        assert told_of(told, cell) == outcome.curves
