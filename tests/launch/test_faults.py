"""Whatever write fails, in whatever way: nothing is stored as failed, and the next call goes on."""

import contextlib
import errno
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pai_bench.core import files
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.events import Finished, Rejected
from pai_bench.launch.request import RunRequest
from pai_bench.launch.run_bundle import run_bundle
from pai_bench.sparsity.masks import Masks
from pai_bench.store import store as store_module
from pai_bench.store.store import Store
from pai_bench.training.callbacks.progress_reporter import Progress
from pai_bench.training.checkpoint import TrainingCheckpoint

CPU = Hardware("cpu", "1")


class Disk:
    """Every write of `pai_bench.core.files`, and an error at one of its stages.

    Stages: the hidden name is made, a file of a cell is written, the disk is asked to keep it, it
    is renamed.
    """

    STAGES = ((files, "_beside"), (store_module, "_write"), (Masks, "save"), (files, "_sync"),
              (files, "_is_renamed"), (Path, "replace"))  # fmt: skip

    def __init__(self, monkeypatch):
        self.writes, self.fails_at, self.error = [], None, None
        for owner, name in self.STAGES:
            self._watch(monkeypatch, owner, name)

    def _watch(self, monkeypatch, owner, name):
        real = getattr(owner, name)

        def watched(*arguments, **named):
            place = next(a for a in arguments if isinstance(a, Path))
            self.writes.append(f"{name} {place.name.lstrip('.').split('.')[0]}")
            if len(self.writes) - 1 == self.fails_at:
                raise self.error
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, watched)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
def bundle(quick):
    """Three cells, one of which searches; a checkpoint is due after each batch of an epoch."""
    recipe = {"epochs": 1, "milestones": (), "batch_size": 719}
    cells = [cell for cell in quick(methods=("imp", "snip"), densities=(0.2,), seeds=(1,))
             if cell.density < 1]  # fmt: skip
    return Bundle(tuple(replace(c, recipe=c.recipe.model_copy(update=recipe)) for c in cells))


def train(runs, bundle, settings):
    """Events of one bundle that is run in this process, its progress left out."""
    events = []
    request = RunRequest("quick", (bundle,), settings, runs, CPU)
    run_bundle(request, bundle, CPU, events.append)
    return [event for event in events if not isinstance(event, Progress)]


def stored(runs):
    return {
        entry.cell.id: (entry.result.accuracy, dict(entry.curves()))
        for entry in Store(runs, "quick").entries()
    }


def errors():
    """Faults in turn, so that each stage meets some and each fault some stage."""
    numbers = [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT]
    while True:
        yield from (OSError(number, os.strerror(number)) for number in numbers)
        yield MemoryError()


@pytest.mark.slow
def test_an_error_at_any_write_is_one_line_and_no_result(
    tmp_path, bundle, settings, disk, monkeypatch
):
    monkeypatch.setattr(TrainingCheckpoint, "every", 0.0)
    assert {event.status for event in train(tmp_path / "whole", bundle, settings)} == {"done"}
    whole, writes = stored(tmp_path / "whole"), list(disk.writes)
    names = {name.partition(" ")[0] for name in writes}
    assert names == {name for _, name in Disk.STAGES}
    for number, error in zip(range(len(writes)), errors(), strict=False):
        runs = tmp_path / str(number)
        disk.writes.clear()
        disk.fails_at, disk.error = number, error
        events = train(runs, bundle, settings)
        disk.fails_at = None
        for event in events:
            assert isinstance(event, Rejected) or event.status == "done", (writes[number], event)
        if rejected := [event for event in events if isinstance(event, Rejected)]:
            assert len(events) == 1
            assert rejected[0].reason.endswith("the same command goes on")
            assert "\n" not in rejected[0].reason
        assert stored(runs).items() <= whole.items()
        left = [cell for cell in bundle if cell.id not in stored(runs)]
        assert bool(left) == bool(rejected)
        if left:
            assert {e.status for e in train(runs, Bundle(tuple(left)), settings)} == {"done"}
        assert stored(runs) == whole, writes[number]
        hidden = [p for p in (runs / "quick").iterdir() if p.name.startswith(".")]
        assert hidden == [], writes[number]


def test_numbers_that_no_file_can_hold_fail_their_cell_only(tmp_path, bundle, settings, disk):
    real = store_module._write

    def with_nan(path, content):
        if path.name == "curves.json" and bundle.cells[0].id in str(path):
            content = {**content, "test_loss": [float("nan")]}
        real(path, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "_write", with_nan)
        events = train(tmp_path, bundle, settings)
    assert sorted(event.status for event in events if isinstance(event, Finished)) == [
        "done", "failed",
    ]  # fmt: skip
    failed = Store(tmp_path, "quick").get(bundle.cells[0].id).result
    assert failed.reason.startswith("ValueError: Out of range float values")


def test_a_disk_that_fills_up_stops_the_run_and_fails_no_cell(call, small_disk):
    run = ("run", "quick", "--runs", str(small_disk), "--set", "epochs=1", "--jobs", "1",
           "--methods", "snip,random,magnitude", "--densities", "0.1", "--wandb", "disabled",
           "--stack", "3")  # fmt: skip
    code, _, err = call(*run)
    assert (code, err.count("\n")) == (2, 1)
    assert "no space is left on the disk" in err
    store = Store(small_disk, "quick+epochs=1")
    before = store.ids()
    assert {entry.result.status for entry in store.entries()} == {"done"}
    code, _, err = call(*run)  # still full
    assert (code, "no space is left on the disk" in err) == (2, True)
    subprocess.run(["mount", "-o", "remount,size=9m", small_disk], check=True)
    code, out, _ = call(*run)
    assert (code, f"{len(before)} found done" in out) == (0, True)
    assert {entry.result.status for entry in store.entries()} == {"done"}
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    code, _, err = call(*run)
    assert (code, err.count("\n")) == (2, 1)
    assert "the disk can only be read" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_stops_the_run(call, tmp_path):
    (tmp_path / "runs").mkdir(mode=0o500)
    with contextlib.ExitStack() as stack:
        stack.callback((tmp_path / "runs").chmod, 0o700)
        code, _, err = call("run", "quick", "--methods", "snip", "--seeds", "1", "--jobs", "1")
    assert (code, err.count("\n")) == (2, 1)
    assert "permission denied" in err
