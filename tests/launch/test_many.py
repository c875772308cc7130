"""Many processes on one folder: no cell is trained twice or lost, whatever ends or sleeps."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from pai_bench.store import lease_entry
from pai_bench.store.store import Store
from pai_bench.training import fit

PROGRAM = Path(__file__).with_name("many_processes.py")
CELLS = {"kill": 12, "suspend": 6}
SEED = os.environ.get("PAI_BENCH_MANY_SEED", "1")

pytestmark = pytest.mark.skipif(
    not lease_entry._boot(), reason="the dead are known by Linux's /proc"
)


@pytest.fixture
def ran(tmp_path):
    """Run the program: what it says, the lines of its log, its store."""

    def run(what):
        command = [sys.executable, PROGRAM, tmp_path, SEED, what]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
        return json.loads(done.stdout), lines, Store(tmp_path / "runs", "quick")

    return run


def times(lines, what):
    return Counter(cell for event, cell, _ in lines if event == what)


def assert_as_alone(store, settings):
    """What many processes made is what one makes, bit by bit."""
    for entry in store.entries():
        alone = fit.fit_cell(entry.cell, settings)
        assert entry.curves() == alone.curves
        assert all(torch.equal(mask, alone.masks[name]) for name, mask in entry.masks().items())
        assert store.verify(entry.cell.id) == []


def left_over(store):
    """Leases, checkpoints and half-written folders."""
    beside = [path.name for path in store.folder.parent.iterdir() if path != store.folder]
    return beside + [path.name for path in store.folder.glob(".*.part")]


@pytest.mark.slow
def test_eight_processes_that_are_killed_train_each_cell_once(ran, settings):
    killed, lines, store = ran("kill")
    trained, stored = times(lines, "trained"), times(lines, "stored")
    cells = set(store.ids())
    assert killed >= 5
    assert len(cells) == CELLS["kill"]
    assert max(stored.values()) == 1
    # A process can be killed after a training, and before its result is stored.
    wasted = {cell for event, cell, process in lines
              if event == "trained" and ["stored", cell, process] not in lines}  # fmt: skip
    assert {cell for cell, count in trained.items() if count > 1} <= wasted
    assert set(trained) == cells
    assert times(lines, "begun").total() > len(cells)
    assert left_over(store) == []
    assert_as_alone(store, settings)


@pytest.mark.slow
def test_who_was_suspended_and_taken_over_writes_nothing_and_others_resume(ran, settings):
    known, lines, store = ran("suspend")
    assert sorted(known["stored"]) == sorted(store.ids())
    assert len(store.ids()) == CELLS["suspend"]
    assert known["cells"]
    assert not [line for line in lines[known["lines"] :] if line[0] == "stored"]
    assert set(times(lines, "stored").values()) == {1}
    taken_over = [store.get(cell_id).result for cell_id in known["cells"]]
    assert {result.environment["resumed"] for result in taken_over} == {1}
    assert left_over(store) == []
    assert_as_alone(store, settings)
