"""How far a training is can be read while it runs, and nothing is left of it then."""

import io
import os
import socket
import time
from dataclasses import replace

import pytest
from rich.console import Console

from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch import progress_writer
from pai_bench.launch.display import ProgressDisplay
from pai_bench.launch.events import Finished, Started
from pai_bench.launch.progress_writer import BundleWriter, RunWriter
from pai_bench.launch.request import RunRequest
from pai_bench.launch.run_bundle import run_bundle
from pai_bench.store import progress_files
from pai_bench.store.store import Store
from pai_bench.training.progress import CurvePoint, Progress


@pytest.fixture
def bundle(quick):
    return Bundle(tuple(quick(methods=("snip",), densities=(0.1,), seeds=(1, 2))))


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(progress_writer, "SHORTEST", 0.01)


def when(read, runs):
    """What is read as soon as there is something."""
    until = time.monotonic() + 10
    while not (found := read(runs)):
        assert time.monotonic() < until
        time.sleep(0.005)
    return found


def at(epoch, bundle, accuracy=None):
    points = [CurvePoint(cell.id, epoch, {"test_accuracy": accuracy}) for cell in bundle]
    return Progress(bundle, epoch, 10, points=tuple(points) if accuracy else ())


def test_a_bundle_can_be_followed_and_leaves_nothing(bundle, tmp_path, monkeypatch):
    writer = BundleWriter(tmp_path, bundle, 0.01)
    now = [100.0]
    with monkeypatch.context() as patched:
        patched.setattr(progress_writer.time, "monotonic", lambda: now[0])
        for epoch, seconds in ((0, 5), (1, 50), (2, 2), (3, 2)):
            now[0] += seconds
            writer.update(at(epoch, bundle, epoch / 8))
        now[0] += 3
        written = writer._now()
    assert written.seconds_left == 7 * 2 - 3
    with writer.writing():
        (found,) = when(progress_files.bundles, tmp_path)
        assert (found.holder.host, found.holder.process) == (socket.gethostname(), os.getpid())
        assert (found.bundle, found.epoch, found.epochs) == (bundle.id, 3, 10)
        known = [(c.id, c.method, c.density, c.seed, c.accuracy) for c in found.cells]
        assert known == [(cell.id, "snip", 0.1, cell.seed, 3 / 8) for cell in bundle]
    assert not (tmp_path / "progress").exists()


def test_the_first_epoch_and_what_was_done_before_count_for_no_speed(bundle, tmp_path):
    writer = BundleWriter(tmp_path, bundle, 1.0)
    for epoch in (0, 7):
        writer.update(at(epoch, bundle))
        assert writer._now().seconds_left is None
    writer.update(at(8, bundle))
    assert 0 <= writer._now().seconds_left < 1


def test_what_ends_before_the_first_file_writes_none(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(progress_writer, "SHORTEST", 60.0)
    written = []
    monkeypatch.setattr(progress_files, "write", lambda *what: written.append(what))
    with BundleWriter(tmp_path, bundle, 60.0).writing():
        pass
    assert written == []


def test_a_worker_says_how_far_it_is_and_leaves_nothing(bundle, settings, tmp_path):
    request = RunRequest("quick", (bundle,), settings, tmp_path, Hardware("cpu", "1"))
    seen = []

    def look(event):
        if isinstance(event, Progress) and event.epoch:
            until = time.monotonic() + 10
            while not seen or seen[-1].epoch != event.epoch:
                assert time.monotonic() < until
                seen.extend(progress_files.bundles(tmp_path))

    run_bundle(replace(request, settings=short(settings)), bundle, request.hardware, look)
    stored = {entry.cell.id: entry.curves() for entry in Store(tmp_path, "quick").entries()}
    assert {progress.bundle for progress in seen} == {bundle.id}
    for cell in seen[-1].cells:
        assert cell.accuracy == stored[cell.id]["test_accuracy"][-1]
    assert not (tmp_path / "progress").exists()


def short(settings):
    """Settings with which files are written often."""
    return settings.model_copy(update={"take_over": 0.06})


def test_a_run_can_be_followed(bundle, tmp_path):
    display = ProgressDisplay(Console(file=io.StringIO()), bundle.cells, lambda _: 1.0)
    writer = RunWriter(tmp_path, "quick", 0.01)
    for event in (Started(bundle), Finished(bundle.cells[0], "failed", "x")):
        display.update(event)
        writer.update(display)
    with writer.writing():
        (found,) = when(progress_files.all_runs, tmp_path)
    assert (found.suite, found.done, found.failed, found.cells) == ("quick", 1, 1, 2)
    assert found.holder.process == os.getpid()
    assert not (tmp_path / "progress").exists()
