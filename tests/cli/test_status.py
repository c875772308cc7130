"""`pai-bench status` and `pai-bench merge`: what is said of folders that several processes fill."""

import os

import pytest

from pai_bench.experiment import grid
from pai_bench.launch import status
from pai_bench.store import lease_entry
from pai_bench.store.lease import Leases
from pai_bench.store.result import Result
from pai_bench.store.store import Store


@pytest.fixture
def cells(settings, methods):
    return grid.cells(settings, methods, "quick", grid.Selection(("snip",), (0.5, 0.1), (1, 2)))


def test_nothing_runs(call):
    code, out, _ = call("status")
    assert (code, "nothing has run in runs/" in out) == (0, True)


def test_what_is_done_runs_and_waits_is_counted(call, tmp_path, cells, settings, methods):
    runs = tmp_path / "runs"
    store, leases = Store(runs, "quick"), Leases(runs, suite="quick")
    store.put(cells[0], Result("done"))
    store.put(cells[1], Result("failed", "x"))
    store.put(cells[2], Result("counted"))
    planned = len(grid.cells(settings, methods, "quick"))
    leases.acquire(cells[3].id)
    Store(runs, "unknown").put(cells[0], Result("skipped", "x"))
    (runs / "checkpoints").mkdir()
    (runs / "checkpoints" / f"{cells[3].id}.ckpt").touch()
    code, out, _ = call("status")
    assert code == 0
    rows = {row[0]: row[1:] for line in out.splitlines()
            if len(row := line.replace("│", " ").split()) == 5}  # fmt: skip
    assert rows["quick"] == ["1", "1", "1", str(planned - 3)]
    assert rows["unknown"] == ["1", "0", "0", "?"]
    (line,) = [line for line in out.splitlines() if line.startswith("running ")]
    assert f"(process {os.getpid()}): {cells[3].id} for 0 s" in line
    assert line.endswith("checkpoint 0 s ago")
    assert sorted(path.name for path in (runs / "leases").iterdir()) == [f"{cells[3].id}.1"]


def test_the_dead_and_the_silent_are_told_from_the_living(tmp_path, cells, monkeypatch):
    leases = Leases(tmp_path, suite="quick")
    lease = leases.acquire(cells[0].id)
    leases.acquire(cells[1].id).release()
    (one,) = status.running(tmp_path)
    assert (one.has_died, one.is_silent, one.cells) == (False, False, (cells[0].id,))
    os.utime(lease.path, (1e9, 1e9))
    (one,) = status.running(tmp_path)
    assert (one.has_died, one.is_silent) == (False, True)
    monkeypatch.setattr(lease_entry, "_started", lambda _: "")
    monkeypatch.setattr(lease_entry, "_is_hidden", lambda _: False)
    (one,) = status.running(tmp_path)
    assert one.has_died


def test_merged_folders_are_one_and_contradictions_stop_it(call, tmp_path, cells):
    for name, cell in zip("ab", cells, strict=False):
        Store(tmp_path / name, "quick").put(cell, Result("done"), {"test_accuracy": [0.5]})
    code, out, _ = call("merge", "a", "b", "--into", "c")
    assert (code, "2 came into c/, 0 were there twice" in out) == (0, True)
    assert len(Store(tmp_path / "c", "quick").ids()) == 2
    Store(tmp_path / "a", "quick").put(cells[1], Result("done"), {"test_accuracy": [0.4]})
    code, out, err = call("merge", "a", "b")
    assert (code, err.count("\n")) == (2, 1)
    assert f"differs  {cells[1].id}: curves differ between a/quick/" in out
    assert "1 contradictions, so that nothing was written; --prefer FOLDER" in err
    code, *_ = call("merge", "a", "b", "--prefer", "b")
    assert code == 0
    assert Store(tmp_path / "a", "quick").get(cells[1].id).curves() == {"test_accuracy": [0.5]}


def test_what_is_preferred_must_be_one_of_them(call, tmp_path, cells):
    code, _, err = call("merge", "a", "b", "--prefer", "d")
    assert (code, "--prefer: d is none of the folders" in err) == (2, True)
