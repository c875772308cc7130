"""Results as a data frame: one row a cell, every kind of outcome, all numbers typed."""

import sys

import pytest

import pai_bench
from pai_bench.config.overrides import with_overrides
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.leaderboard.frame import COLUMNS, load_results
from pai_bench.store.result import Accuracy, Flops, Result
from pai_bench.store.store import Store

IMAGES = 20 * 1438


@pytest.fixture
def runs(tmp_path, settings, methods):
    """Results of the quick suite, one of them failed, and of the suite that is twice as long."""
    chosen = grid.Selection(("dense", "snip", "random"), (0.1,), (1, 2))
    for suite in ("quick", "quick+length=2"):
        for cell in grid.cells(with_overrides(settings, suite), methods, suite, chosen):
            if cell.method == "dense" and cell.seed == 2:
                result = Result("failed", "out of memory")
            else:
                flops = Flops(100.0, 50.0, 1.0, 3 * 100.0 * IMAGES)
                result = Result("done", accuracy=Accuracy(0.9, 0.95, 1), flops=flops, density=0.1,
                                seconds={"total": 2.5}, hyper={"scope": "global"})  # fmt: skip
            Store(tmp_path, suite).put(cell, result)
    return tmp_path


def test_it_is_a_public_name_and_each_cell_is_a_row(runs):
    frame = pai_bench.load_results(runs)
    assert len(frame) == sum(len(Store(runs, name).ids()) for name in ("quick", "quick+length=2"))
    assert frame.id.is_unique
    assert list(frame.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert set(frame.suite) == {"quick", "quick+length=2"}


def test_numbers_are_those_of_the_result(runs):
    frame = load_results(str(runs))
    row = frame[(frame.suite == "quick") & (frame.label == "snip") & (frame.seed == 1)].iloc[0]
    assert (row.density, row.sparsity, row.accuracy, row.best_accuracy) == (0.1, 0.9, 0.9, 0.95)
    assert (row.flops_inference, row.seconds, row["hyper.scope"]) == (50.0, 2.5, "global")
    assert row["metric.inference-flops"] == 0.5
    assert row["metric.training-flops"] == pytest.approx(1.0)
    assert frame.accuracy.dtype == float


def test_a_failure_is_a_row_without_numbers(runs):
    failed = load_results(runs).query("status == 'failed'")
    assert len(failed) == 2
    assert set(failed.reason) == {"out of memory"}
    assert failed[["accuracy", "flops_training", "metric.accuracy"]].isna().all(axis=None)


def test_a_suite_that_the_settings_lack_has_all_but_relative_flops(runs):
    (runs / "quick").rename(runs / "another")
    frame = load_results(runs).query("suite == 'another' and status == 'done'")
    assert frame["metric.training-flops"].isna().all()
    assert (frame["metric.accuracy"] == 90).all()


def test_a_folder_without_results_is_an_empty_frame(tmp_path):
    frame = load_results(tmp_path)
    assert (len(frame), list(frame.columns)) == (0, list(COLUMNS))


def test_a_folder_that_is_not_there_and_pandas_that_is_not_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(BenchError, match=r"^\S+nowhere: no such folder of results$"):
        load_results(tmp_path / "nowhere")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BenchError, match=r'^load_results needs pandas: pip install "pai-bench\['):
        load_results(tmp_path)
