"""What a run in W&B holds beside what the table shows: costs, rates, differences, each seed."""

from dataclasses import replace

import pytest

from pai_bench.experiment import grid
from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.wandb.runs import described, epochs, runs
from pai_bench.store.result import Accuracy, Flops, Result
from pai_bench.store.store import Store


@pytest.fixture
def of_line(settings, methods, tmp_path, told):
    """Runs by method, of cells with all that results may have."""
    store = Store(tmp_path, "quick")
    chosen = grid.Selection(("random", "snip"), (0.1,), (1, 2))
    cells = [c for c in grid.cells(settings, methods, "quick", chosen) if not c.hyper]
    for cell in cells:
        last = 0.5 + cell.seed / 8 + (cell.method == "snip") / 16
        store.put(
            cell,
            Result(
                "done", accuracy=Accuracy(last, last, 3), density=0.1,
                flops=Flops(100.0, 10.0, 4.0 * cell.seed, 1000.0 * cell.seed),
                sparse_bytes=64.0 * cell.seed,
                memory_mb=300.0 if cell.seed == 2 else None,
                seconds={"score": 1.0, "total": 7.0},
                environment={"device": f"/usr/local/gpu-{cell.seed}"},
            ),
            {"test_accuracy": [0.1, 0.2, last], "train_loss": [3.0, 2.0, 1.0]},
        )  # fmt: skip
    made = board(store, "quick", cells, ())
    return {run.tags[1]: run for run in runs(made, told, settings) if run.job_type == "train"}


def test_the_summary_has_costs_the_difference_to_the_best_baseline_and_each_seed(of_line):
    summary = of_line["snip"].summary
    wanted = {
        "flops/inference_dense": 100.0, "flops/inference": 10.0, "flops/scoring": 6.0,
        "flops/training": 1500.0, "sparse_bytes": 96.0, "memory_mb": 300.0,
        "delta/against": "random", "seconds": 7.0,
        "seed-1/accuracy": 0.5 + 1 / 8 + 1 / 16, "seed-2/accuracy": 0.75 + 1 / 16,
    }  # fmt: skip
    assert {name: summary[name] for name in wanted} == wanted
    assert summary["delta/mean"] == pytest.approx(1 / 16)
    assert summary["delta/low"] == pytest.approx(summary["delta/high"])


def test_the_history_has_the_rate_and_the_time_of_each_epoch(of_line, settings):
    rates = settings.recipes[settings.suites["quick"].recipe].lr
    history = of_line["snip"].history
    assert [record["learning_rate"] for record in history] == [rates] * 3
    assert [record["seconds"] for record in history] == [3.0, 5.0, 7.0]


def test_each_seed_has_its_environment(of_line):
    config = of_line["snip"].config
    assert config["environments"] == {"seed-1": {"device": "gpu-1"}, "seed-2": {"device": "gpu-2"}}
    assert config["environment"] == config["environments"]["seed-1"]


def test_a_run_is_described_before_there_are_results_as_it_is_then(of_line, settings, methods):
    chosen = grid.Selection(("snip",), (0.1,), (2,))
    cell = next(c for c in grid.cells(settings, methods, "quick", chosen) if c.density == 0.1)
    before, then = described(cell, "quick", settings), of_line["snip"]
    for name in ("id", "name", "group", "job_type", "tags", "step"):
        assert getattr(before, name) == getattr(then, name)
    assert before.config.items() <= {k: then.config[k] for k in before.config}.items()
    assert replace(then, history=(), summary={}).config.keys() > before.config.keys()


def test_epochs_end_where_the_shortest_curve_does():
    curves = {1: {"test_accuracy": [0.25, 0.5], "train_loss": [4.0, 2.0]},
              3: {"test_accuracy": [0.75], "train_loss": [2.0]}}  # fmt: skip
    assert epochs(curves, [0.1, 0.01]) == [{
        "epoch": 1, "test_accuracy": 0.5, "train_loss": 3.0, "seed-1/test_accuracy": 0.25,
        "seed-3/test_accuracy": 0.75, "learning_rate": 0.1,
    }]  # fmt: skip
