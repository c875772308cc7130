"""`pai-bench watch`: what is said of trainings of this host and of others."""

import os
import socket
from dataclasses import replace

import pytest

from pai_bench.cli import watch
from pai_bench.experiment import grid
from pai_bench.store import progress_files
from pai_bench.store.lease import Leases
from pai_bench.store.lease_entry import Holder, create
from pai_bench.store.progress_files import BundleProgress, CellProgress, RunProgress

RUN = RunProgress("quick", Holder(host="node1", process=9), 3, 1, 8, 125.0)


@pytest.fixture
def cells(settings, methods):
    return grid.cells(settings, methods, "quick", grid.Selection(("snip",), (0.5, 0.1), (1, 2)))


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def lease(runs, cell, host="", process=0):
    """Hold the lease of a cell, as a process of another host if one is given."""
    held = Leases(runs, suite="quick").acquire(cell.id)
    if host:
        holder = replace(held.holder, host=host, boot="", process=process)
        held.path.unlink()
        create(held.folder, held.name, held.number, holder)


def trained(cell, host, process, epoch=3, accuracy=0.5, message="", left=65.0):
    known = CellProgress(cell.id, cell.label, cell.density, cell.seed, "", accuracy)
    holder = Holder(host=host, process=process)
    return BundleProgress(cell.id, holder, epoch, 20, message, left, (known,))


def rows(out):
    return [line for line in out.splitlines() if line.startswith("snip")]


def test_nothing_runs(call):
    assert call("watch") == (0, "watch    nothing runs in runs/\n", "")


def test_trainings_of_other_hosts_are_shown(call, runs, cells):
    here = socket.gethostname(), os.getpid()
    lease(runs, cells[0])
    lease(runs, cells[1], "node7", 12)
    lease(runs, cells[2], "node8", 13)
    progress_files.write(runs, trained(cells[0], *here, 0, None, "pass 1 of 2", None))
    progress_files.write(runs, trained(cells[1], "node7", 12))
    progress_files.write(
        runs, RunProgress("quick", Holder(host="node1", process=9), 3, 1, 8, 125.0)
    )
    code, out, _ = call("watch", "--once")
    assert code == 0
    assert "quick on node1 (process 9): 3/8 cells done · 1 failed · time left: 2 min" in out
    first, second = rows(out)
    assert first.split("  ")[0] == "snip"
    assert "choosing masks, pass 1 of 2" in first
    assert f"{here[0]} ({here[1]})" in first
    for word in (
        f" {cells[1].density:g} ",
        f" {cells[1].seed} ",
        "epoch 3/20",
        "50.00 %",
        "1 min 5 s",
        "node7 (12)",
    ):
        assert word in second
    (unknown,) = (line for line in out.splitlines() if line.startswith(cells[2].id))
    assert "starting" in unknown
    assert "node8 (13)" in unknown


def test_time_that_has_passed_since_is_taken_off(call, runs, cells):
    lease(runs, cells[0], "node7", 12)
    progress_files.write(runs, trained(cells[0], "node7", 12))
    path = runs / "progress" / f"{cells[0].id}.json"
    os.utime(path, (path.stat().st_mtime - 40,) * 2)
    _, out, _ = call("watch", "--once")
    assert " 25 s " in rows(out)[0] or " 24 s " in rows(out)[0]


def test_what_the_dead_have_left_is_not_shown_as_running(call, runs, cells):
    lease(runs, cells[0], "node7", 12)
    (entry,) = (runs / "leases").iterdir()
    os.utime(entry, (1e9, 1e9))
    progress_files.write(runs, trained(cells[0], "node7", 12))
    progress_files.write(runs, trained(cells[1], "node7", 12))
    progress_files.write(
        runs, RunProgress("quick", Holder(host="node1", process=9), 3, 1, 8, 125.0)
    )
    os.utime(runs / "progress" / "run-node1-9.json", (1e9, 1e9))
    code, out, _ = call("watch")
    assert code == 0
    assert "silent: others take over" in out
    assert "cells done" not in out
    assert "epoch" not in out


def test_it_goes_on_until_nothing_runs(call, runs, cells, monkeypatch):
    lease(runs, cells[0], "node7", 12)
    looks = []

    def wait(_seconds):
        looks.append(0)
        if len(looks) < 4:
            progress_files.write(runs, trained(cells[0], "node7", 12, len(looks) // 2))
        for entry in (runs / "leases").iterdir() if len(looks) == 4 else ():
            entry.unlink()

    monkeypatch.setattr(watch.time, "sleep", wait)
    code, out, _ = call("watch")
    assert (code, len(looks)) == (0, 3 + watch.LAST_LOOKS)
    assert out.count("epoch 1/20") == 1
    assert out.endswith("nothing runs in runs/ any more\n")


def test_ctrl_c_ends_it_and_no_training(call, runs, cells, monkeypatch):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    lease(runs, cells[0], "node7", 12)
    monkeypatch.setattr(watch.time, "sleep", interrupt)
    code, out, err = call("watch")
    assert (code, err) == (0, "")
    assert "starting" in out
    assert len(list((runs / "leases").iterdir())) == 1
