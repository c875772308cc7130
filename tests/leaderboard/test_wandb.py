"""The mirror against the real client, offline: what its log holds is what the store holds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pai_bench.leaderboard import wandb as ours
from pai_bench.leaderboard.statistics import board
from pai_bench.result import Accuracy, Result
from pai_bench.store import Store

KEY = "0123456789abcdef" * 3


@pytest.fixture
def store(tmp_path, quick):
    store = Store(tmp_path / "runs", "quick")
    for cell in quick(methods=("dense", "snip"), densities=(0.1,), seeds=(1, 2)):
        last = 0.9 + cell.seed / 100
        curves = {"test_accuracy": [0.5, last], "train_loss": [1.0, 0.1], "test_loss": [1.0, 0.2]}
        store.put(cell, Result("done", accuracy=Accuracy(last, last, 2), density=cell.density,
                               effective=0.05, seconds={"total": 2.0}), curves)  # fmt: skip
    return store


@pytest.fixture
def made(store, quick):
    cells = quick(methods=("dense", "snip"), densities=(0.1,), seeds=(1, 2))
    return board(store, "quick", cells, {"ntk-sap"})


def inspect(folder, *options):
    """Read a run's transaction log with W&B's own tool."""
    command = Path(sys.executable).with_name("wandb")
    arguments = [str(command), "leet", "inspect", str(folder), *options, "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_offline_runs_hold_what_the_store_holds(tmp_path, made, settings):
    found = ours.mirror(made, settings, tmp_path / "wandb", "auto")
    assert found == ours.Mirrored("offline", written=3, unchanged=0)
    rows = {run.name: run for run in ours.runs(made, settings)}
    assert set(rows) == {"dense · density 1", "snip · density 0.1", "leaderboard · quick"}
    snip = rows["snip · density 0.1"]
    (folder,) = (tmp_path / "wandb").glob(f"offline-run-*-{snip.id}")
    summary = json.loads(inspect(folder, "--summary"))
    text = json.dumps(summary)
    assert summary["summary"]["mean"] == pytest.approx(0.915)
    assert summary["summary"]["n"] == 2
    assert summary["summary"]["seed-2/test_accuracy"] == pytest.approx(0.92)
    assert summary["summary"]["test_accuracy"] == pytest.approx(0.915)
    for cell in next(row for row in made.rows if row.line == "snip").cells:
        assert cell.id in text
    (folder,) = (tmp_path / "wandb").glob("offline-run-*-leaderboard-quick")
    tables = list(folder.rglob("*.table.json"))
    table = json.loads(tables[0].read_text())
    means = {row[0]: row[table["columns"].index("mean")] for row in table["data"]}
    assert means == {"dense": pytest.approx(0.915), "snip": pytest.approx(0.915)}


def test_unchanged_runs_are_not_written_again_and_deleted_ones_are(tmp_path, made, settings):
    folder = tmp_path / "wandb"
    assert ours.mirror(made, settings, folder, "offline").written == 3
    assert ours.mirror(made, settings, folder, "offline") == ours.Mirrored("offline", 0, 3)
    shutil.rmtree(next(folder.glob("offline-run-*-leaderboard-quick")))
    assert ours.mirror(made, settings, folder, "offline") == ours.Mirrored("offline", 1, 2)
    assert ours.mirror(made, settings, folder, "offline", rebuild=True).written == 3
    assert len(list(folder.glob("offline-run-*"))) == 3


def test_run_ids_are_the_same_each_time_and_differ(made, settings):
    one, other = ([run.id for run in ours.runs(made, settings)] for _ in range(2))
    assert one == other
    assert len(set(one)) == len(one)


def test_disabled_writes_nothing(tmp_path, made, settings, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert ours.mirror(made, settings, tmp_path / "wandb", "auto").mode == "disabled"
    assert not (tmp_path / "wandb").exists()


def test_a_mode_that_was_asked_for_goes_before_the_environment(
    tmp_path, made, settings, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert ours.mirror(made, settings, tmp_path / "wandb", "offline").written == 3


def test_where_the_server_cannot_be_reached_runs_stay_offline_and_that_is_said(
    tmp_path, made, settings, monkeypatch
):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "3")
    found = ours.mirror(made, settings, tmp_path / "wandb", "auto")
    assert (found.mode, found.written) == ("offline", 3)
    assert found.problem
    assert KEY not in found.problem
    for path in (tmp_path / "wandb").rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes()


def test_a_mirror_that_hangs_is_given_up(tmp_path, made, settings, monkeypatch):
    monkeypatch.setattr(ours, "PATIENCE", 0.01)
    found = ours.mirror(made, settings, tmp_path / "wandb", "offline")
    assert "did not get through" in found.problem
