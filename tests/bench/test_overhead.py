"""The measurement of overhead plans and trains what it says."""

import pytest

from pai_bench.bench import overhead
from pai_bench.experiment.cost import assumed_seconds


def test_the_plan_is_one_of_a_process_with_as_many_cells(monkeypatch):
    monkeypatch.setattr(overhead, "DENSITIES", 2)
    cells, seconds, memory = overhead._planning()
    assert cells > 100
    assert 0 < seconds < 60
    assert 10 < memory < 500


def test_cells_that_are_scheduled_are_many_short_ones(settings):
    cells = overhead._short_cells(settings)
    assert len({cell.id for cell in cells}) == overhead.SCHEDULED
    assert max(assumed_seconds(cell, settings) for cell in cells) < 0.1


@pytest.mark.parametrize(("value", "says"), [(0.9, "met"), (1.1, "not met")])
def test_a_goal_is_met_or_not(value, says):
    assert overhead._against_goal(value, 1.0, "1 s") == f"goal: below 1 s, {says}"
