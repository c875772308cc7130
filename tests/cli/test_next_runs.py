"""run --claims runs what is next, as much of it as the budget allows."""

import pytest

from pai_bench.claims.next_runs import NextRun
from pai_bench.cli import next_runs
from pai_bench.config.overrides import with_overrides
from pai_bench.experiment import grid
from pai_bench.store.store import Store

SUITE = "quick+epochs=1"


@pytest.fixture
def planned(settings, methods, monkeypatch):
    """Two runs of one cell each, of which the second takes an hour by estimate."""
    of_suite = with_overrides(settings, SUITE)
    selection = grid.Selection(("random", "magnitude"), (0.1,), (1,))
    cells = grid.cells(of_suite, methods, SUITE, selection)
    cells = [cell for cell in cells if not cell.hyper and not cell.sanity_check]
    runs = [
        NextRun({SUITE: [cells[0]]}, ["a:one"], 5.0),
        NextRun({SUITE: [cells[1]]}, ["a:two"], 3600.0),
    ]
    monkeypatch.setattr(next_runs, "_next_runs", lambda *_: (runs, 1))
    return cells


def test_what_fits_into_the_budget_is_run(planned, call, tmp_path):
    code, out, err = call(
        "run", "--claims", "--budget", "10m", "--jobs", "1", "--wandb", "disabled"
    )
    assert code == 0, err
    store = Store(tmp_path / "runs", SUITE)
    assert [store.status(cell) for cell in planned] == ["done", None]
    assert f"{SUITE}: 1 cells" in out


def test_nothing_to_run_is_said(planned, call, monkeypatch):
    monkeypatch.setattr(next_runs, "_next_runs", lambda *_: ([], 1))
    code, out, _ = call("run", "--claims", "ntt")
    assert code == 0
    assert "nothing to run" in out
