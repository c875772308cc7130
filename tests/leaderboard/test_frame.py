"""Results as a data frame: one row a cell, every kind of outcome, all numbers typed."""

import sys

import pytest

import pai_bench
from pai_bench.config.overrides import with_overrides
from pai_bench.core.errors import BenchError
from pai_bench.core.project import SETTINGS
from pai_bench.experiment import grid
from pai_bench.leaderboard import export
from pai_bench.leaderboard.frame import COLUMNS, load_results
from pai_bench.leaderboard.stored import stored_board
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


def test_a_board_is_the_exported_table(runs, settings, methods):
    frame = pai_bench.board("quick", runs)
    assert list(frame.columns[: len(export.COLUMNS)]) == list(export.COLUMNS)
    computed, _ = stored_board(settings, methods, [runs], "quick")
    assert frame.method.tolist() == [row.label for row in computed.rows]
    row = frame[(frame.method == "snip") & (frame.density == 0.1)].iloc[0]
    assert (row.n, row.accuracy, row["metric.training-flops"]) == (2, 0.9, pytest.approx(1.0))
    assert frame.accuracy.dtype == float
    assert set(pai_bench.board("quick+length=2", runs).suite) == {"quick+length=2"}


def test_a_comparison_has_a_row_for_each_density(runs):
    frame = pai_bench.compare("snip", "random", "quick", runs)
    assert (frame.density.tolist(), frame.n.tolist()) == ([0.1], [2])
    assert frame[["difference", "low", "high"]].iloc[0].tolist() == [0, 0, 0]
    assert (frame.ours[0], frame.theirs[0], frame.improvement[0]) == (0.9, 0.9, 0.5)


def test_over_all_densities_the_last_row_has_none(runs, settings, methods):
    chosen = grid.Selection(("snip", "magnitude"), (0.1, 0.02), (1, 2, 3))
    for cell in grid.cells(settings, methods, "quick", chosen):
        value = 0.5 + cell.seed / 10 + (cell.method == "snip") * cell.density
        result = Result("done", accuracy=Accuracy(value, value, 1))
        Store(runs / "more", "quick").put(cell, result)
    frame = pai_bench.compare("snip", "magnitude", "quick", runs / "more")
    assert frame.density.tolist()[:2] == [0.1, 0.02]
    assert frame.density.isna().tolist() == [False, False, True]
    assert frame.difference.tolist() == pytest.approx([0.1, 0.02, 0.06])


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda runs: pai_bench.board("quik", runs), 'unknown suite "quik"'),
        (lambda runs: pai_bench.board("quick", runs / "none"), "no such folder of results"),
        (lambda runs: pai_bench.compare("snpi", "snip", "quick", runs), 'did you mean "snip"'),
    ],
)
def test_what_is_not_there_is_one_line(runs, ask, says):
    with pytest.raises(BenchError) as error:
        ask(runs)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_are_those_that_commands_use_here(runs, monkeypatch):
    monkeypatch.chdir(runs)
    assert pai_bench.board("quick", runs).n.sum() > 0
    (runs / "benchmark.yaml").write_text("suites: {}\n")
    with pytest.raises(BenchError, match=r"benchmark\.yaml:1"):
        pai_bench.board("quick", runs)
    assert pai_bench.board("quick", runs, SETTINGS).n.sum() > 0
