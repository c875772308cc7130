"""Live runs: what is streamed is what the mirror would write, once, and nobody waits for it."""

import math
import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.events import Finished, PutOff, Started, Stopped
from pai_bench.launch.request import RunRequest
from pai_bench.leaderboard import publish
from pai_bench.leaderboard.wandb import live, mirror
from pai_bench.leaderboard.wandb.client import read_notes, write_notes
from pai_bench.leaderboard.wandb.live import LiveRuns
from pai_bench.leaderboard.wandb.report import run_id
from pai_bench.leaderboard.wandb.runs import runs
from pai_bench.leaderboard.wandb.stream import Close, Log, Open
from pai_bench.store.lease import Leases
from pai_bench.store.store import Store
from pai_bench.training.progress import CurvePoint, Progress

NAMES = ("test_accuracy", "train_loss", "test_loss")


class Recorded:
    """In place of the process that talks to W&B."""

    def __init__(self, settings, folder, mode):
        self.mode = mode
        ALL.append(self)
        self.messages, self.is_ended = [], False

    def send(self, message):
        self.messages.append(message)

    def end(self):
        self.is_ended = True

    def wait(self, seconds):
        return "gone" if self.mode == "online" else ""


ALL = []


@pytest.fixture
def streams(monkeypatch):
    """Streams that were started; nothing is sent anywhere."""
    monkeypatch.setattr(live, "Stream", Recorded)
    monkeypatch.setattr(live, "SHARE", math.inf)
    ALL.clear()
    return ALL


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def seeds(quick):
    """Three seeds of one run."""
    return quick(methods=("snip",), densities=(0.1,), seeds=(1, 2, 3))


@pytest.fixture
def request_of(settings, tmp_path):
    def make(cells):
        work = (Bundle(tuple(cells)),)
        return RunRequest("quick", work, settings, tmp_path / "runs", Hardware())

    return make


def point(cell, epoch, scale=1.0):
    values = {name: scale * cell.seed * epoch / 64 for name in NAMES}
    return CurvePoint(cell.id, epoch, values)


def at(cells, epoch, first=None):
    """Progress of a bundle whose points since the epoch `first` are new."""
    told = range(first or epoch, epoch + 1)
    points = tuple(point(cell, number) for number in told for cell in cells)
    return Progress(Bundle(tuple(cells)), epoch, 20, points=points)


def said(messages):
    """Messages in short."""
    short = {Open: "open", Log: "log", Close: "close"}
    return [
        (short[type(m)], [record["epoch"] for record in m.records]) if isinstance(m, Log)
        else (short[type(m)], m.run.config["seeds"]) if isinstance(m, Open) else ("close",)
        for m in messages
    ]  # fmt: skip


def test_a_training_is_streamed_when_it_has_taken_a_while(streams, clock, seeds, request_of):
    one, two, _ = seeds
    with LiveRuns(request_of(seeds), None, "auto") as shown:
        shown.update(Started(Bundle((one, two))))
        for epoch in range(1, 5):
            shown.update(at((one, two), epoch))
            clock[0] += 4
        assert said(streams[0].messages) == [("open", [1, 2]), ("log", [1, 2, 3, 4])]
        shown.update(at((one, two), 5))
        assert len(streams[0].messages) == 2
        clock[0] += 4
        shown.update(at((one, two), 6))
        shown.update(at((one, two), 7))
        assert said(streams[0].messages)[2:] == [("log", [5, 6])]
        shown.update(Finished(one, "done"))
        shown.update(Finished(two, "done"))
        assert said(streams[0].messages)[3:] == [("log", [7]), ("close",)]
    assert streams[0].is_ended
    records = [r for m in streams[0].messages if isinstance(m, Log) for r in m.records]
    assert records[2]["test_accuracy"] == pytest.approx((3 / 64 + 6 / 64) / 2)
    assert records[2]["seed-2/test_accuracy"] == 6 / 64


def test_what_is_short_is_left_to_the_mirror(streams, clock, seeds, request_of):
    with LiveRuns(request_of(seeds), None, "auto") as shown:
        for cell in seeds:
            shown.update(Started(Bundle((cell,))))
            for epoch in range(1, 10):
                clock[0] += 1
                shown.update(at((cell,), epoch))
            shown.update(Finished(cell, "done"))
    assert streams == []


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_offline_nothing_is_streamed(mode, streams, clock, seeds, request_of):
    with LiveRuns(request_of(seeds), None, mode) as shown:
        for epoch in (1, 2):
            shown.update(at(seeds, epoch))
            clock[0] += 60
    assert (streams, shown.wait()) == ([], "")


def test_a_seed_that_joins_opens_the_run_over_itself(streams, clock, seeds, request_of):
    one, two, _ = seeds
    with LiveRuns(request_of(seeds), None, "auto") as shown:
        shown.update(at((one,), 2, first=1))
        clock[0] += 20
        shown.update(at((one,), 3))
        shown.update(at((two,), 1))
        clock[0] += 20
        shown.update(at((two,), 2))
        shown.update(Finished(one, "done"))
        clock[0] += 20
        shown.update(at((two,), 3))
        shown.update(Finished(two, "failed", "it diverged"))
    assert not streams[0].messages[-1].is_failed
    assert said(streams[0].messages) == [
        ("open", [1]), ("log", [1, 2, 3]), ("open", [1, 2]), ("log", [1, 2]), ("log", [3]),
        ("close",),
    ]  # fmt: skip


def test_seeds_that_are_stored_are_in_the_run(streams, clock, store, made, settings, told):
    """And what is streamed of all is what the mirror writes then, but for the time."""
    (row,) = (row for row in made.rows if row.method == "snip")
    first, second = row.cells
    runs_of_store = store.folder.parent
    request = RunRequest("quick", (Bundle((second,)),), settings, runs_of_store, Hardware())
    curves = store.get(second.id).curves()
    points = tuple(
        CurvePoint(second.id, epoch, {name: curve[epoch - 1] for name, curve in curves.items()})
        for epoch in (1, 2)
    )
    with LiveRuns(request, None, "auto") as shown:
        shown.update(Started(Bundle((second,))))
        shown.update(Progress(Bundle((second,)), 1, 2, points=points[:1]))
        clock[0] += 20
        shown.update(Progress(Bundle((second,)), 2, 2, points=points[1:]))
        shown.update(Finished(second, "done"))
    opening, log, _ = streams[0].messages
    (written,) = (run for run in runs(made, told, settings) if run.id == run_id(first))
    assert opening.run.config["seeds"] == [1, 2]
    for name in ("id", "name", "group", "job_type", "tags"):
        assert getattr(opening.run, name) == getattr(written, name)
    for live_record, record in zip(log.records, written.history, strict=True):
        assert {**live_record, "seconds": record["seconds"]} == pytest.approx(record)


def test_a_training_that_resumes_has_no_record_twice(streams, clock, seeds, request_of):
    one = seeds[0]
    for begins, ends in ((1, 4), (1, 7)):  # It tells what was before, with its first word.
        with LiveRuns(request_of(seeds), None, "auto") as shown:
            shown.update(at((one,), ends - 1, first=begins))
            clock[0] += 20
            shown.update(at((one,), ends))
            shown.update(Stopped(Bundle((one,))))
    for stream, ends in zip(streams, (4, 7), strict=True):
        logged = ("log", list(range(1, ends + 1)))
        assert said(stream.messages) == [("open", [1]), logged, ("close",)]


def test_what_is_trained_again_alone_goes_on_where_it_was(streams, clock, seeds, request_of):
    one, two, _ = seeds
    with LiveRuns(request_of(seeds), None, "auto") as shown:
        shown.update(at((one, two), 3, first=1))
        clock[0] += 20
        shown.update(at((one, two), 4))
        for epoch in range(1, 6):
            clock[0] += 20
            shown.update(at((one,), epoch))
            shown.update(at((two,), epoch))
        shown.update(PutOff(Bundle((one, two)), (one, two)))
    assert streams[0].messages[-1] == Close(run_id(one), is_failed=True)
    sent = [m for m in streams[0].messages if isinstance(m, Log)]
    assert [record["epoch"] for log in sent for record in log.records] == [1, 2, 3, 4, 5]


def test_a_run_that_others_train_too_is_left_to_the_mirror(streams, clock, seeds, request_of):
    one, two, _ = seeds
    request = request_of(seeds)
    lease = Leases(request.runs).acquire(two.id)
    with LiveRuns(request, None, "auto") as shown:
        shown.update(Started(Bundle((one,))))
        shown.update(at((one,), 1))
        clock[0] += 20
        shown.update(at((one,), 2))
        assert streams == []
        lease.release()
        shown.update(at((one,), 3))
    assert said(streams[0].messages) == [("open", [1]), ("log", [1, 2, 3])]


def test_only_so_many_runs_are_open(streams, clock, quick, request_of, monkeypatch):
    monkeypatch.setattr(live, "MOST", 2)
    cells = quick(methods=("snip",), densities=(0.5, 0.2, 0.1), seeds=(1,))
    with LiveRuns(request_of(cells), None, "auto") as shown:
        for epoch in range(1, 4):
            shown.update(at(cells, epoch))
            clock[0] += 20
        shown.update(Finished(cells[0], "done"))
        shown.update(at(cells[1:], 4))
    opened = [m.run.id for m in streams[0].messages if isinstance(m, Open)]
    assert opened == [run_id(cell) for cell in cells]


def test_it_takes_but_a_small_part_of_the_time(streams, clock, quick, request_of, monkeypatch):
    monkeypatch.setattr(live, "SHARE", 0.01)
    monkeypatch.setattr(live, "available_cores", lambda: 2)
    cells, began = quick(methods=("snip",), densities=(0.5, 0.2, 0.1), seeds=(1,)), clock[0]
    opened = []
    with LiveRuns(request_of(cells), None, "auto") as shown:
        for epoch in range(1, 300):
            clock[0] += 1
            shown.update(at(cells, epoch))
            sent = streams[0].messages if streams else []
            opened += [clock[0] - began] * (sum(isinstance(m, Open) for m in sent) - len(opened))
    records = sum(len(m.records) for m in streams[0].messages if isinstance(m, Log))
    assert records > 300
    for number, seconds in enumerate(opened):
        assert seconds * 2 * 0.01 >= live.STARTING + (number + 1) * live.OPENING
    assert len(opened) == 3
    assert opened[0] < 150


def test_records_wait_where_they_would_take_more(streams, clock, quick, request_of, monkeypatch):
    monkeypatch.setattr(live, "SHARE", 0.01)
    monkeypatch.setattr(live, "RECORD", 0.1)
    monkeypatch.setattr(live, "available_cores", lambda: 2)
    cells = quick(methods=("snip",), densities=(0.5, 0.2), seeds=(1,))
    with LiveRuns(request_of(cells), None, "auto") as shown:
        for epoch in range(1, 300):
            clock[0] += 1
            shown.update(at(cells, epoch))
    logs = [m for m in streams[0].messages if isinstance(m, Log)]
    for name in map(run_id, cells):
        found = [record["epoch"] for log in logs if log.run == name for record in log.records]
        assert found == list(range(1, len(found) + 1))
    records = sum(len(log.records) for log in logs)
    opened = sum(isinstance(m, Open) for m in streams[0].messages)
    spent = live.STARTING + opened * live.OPENING + records * live.RECORD
    assert 0.9 * 299 * 2 * 0.01 < spent <= 299 * 2 * 0.01


def test_an_error_of_our_own_ends_no_training(streams, clock, seeds, request_of, monkeypatch):
    def fail(*_):
        raise OSError("no such disk")

    monkeypatch.setattr(live, "described", fail)
    with LiveRuns(request_of(seeds), None, "auto") as shown:
        shown.update(at(seeds, 1))
        clock[0] += 20
        shown.update(at(seeds, 2))
        shown.update(at(seeds, 3))
    assert shown.wait() == "OSError: no such disk"


def test_a_command_streams_what_it_trains_and_then_mirrors(streams, call, monkeypatch):
    for name in ("START", "PACE"):
        monkeypatch.setattr(live, name, 0.0)
    monkeypatch.setattr(Recorded, "wait", lambda self, _seconds: order.append("waited") or "late")
    order = []

    def mirrored(*_):
        order.append("mirrored")
        return mirror.Mirrored("online")

    monkeypatch.setattr(publish, "mirror", mirrored)
    chosen = ("--methods", "random", "--densities", "0.1", "--seeds", "1", "--set", "epochs=3")
    code, out, _ = call("run", "quick", *chosen, "--jobs", "1", "--wandb", "online")
    assert code == 0
    (stream,) = streams
    opened = [m.run for m in stream.messages if isinstance(m, Open)]
    assert {run.config["density"] for run in opened} == {0.1}
    assert len(opened) == 3  # as many lines as the suite has of this method
    for run in opened:
        logged = [m for m in stream.messages if isinstance(m, Log) and m.run == run.id]
        assert [r["epoch"] for log in logged for r in log.records] == [1, 2, 3]
        assert Close(run.id) in stream.messages
    assert stream.is_ended
    assert order == ["waited", "mirrored"]
    assert "live     not all was streamed: late" in out


# Against the real client, and a server on this machine ----------------------------------------


@pytest.fixture
def online(start, monkeypatch, tmp_path):
    """A server that somebody is logged in to."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name, value in (("START", 0.0), ("PACE", 0.0), ("SHARE", math.inf)):
        monkeypatch.setattr(live, name, value)
    with start() as server:
        monkeypatch.setenv("WANDB_API_KEY", server.key)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server
        server.pause = 0.0


def until(is_so):
    limit = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.slow
def test_curves_are_there_while_networks_train_and_the_mirror_replaces_them(
    online, made, told, settings, tmp_path, same, expected
):
    cells = next(row.cells for row in made.rows if row.method == "snip")
    left_over = next(row.cells[0] for row in made.rows if row.method == "dense")
    (name,), folder = {run_id(cell) for cell in cells}, tmp_path / "wandb"
    write_notes(folder, "online", {name: "as before", "other": "kept"})
    request = RunRequest("quick", (Bundle(cells),), settings, tmp_path / "runs", Hardware())
    with LiveRuns(request, folder, "auto") as shown:
        shown.update(at(cells[:1], 2, first=1))
        shown.update(at(cells[1:], 1))  # It is opened anew, and what was sent has to be there.
        until(lambda: online.history.get(name))
        assert read_notes(folder, "online") == {"other": "kept"}
        assert [len(r) for r in plain(online.history[name])] == [6, 6]
        for cell in cells:
            shown.update(Finished(cell, "done"))
        shown.update(at([left_over], 1))
    assert shown.wait() == ""
    assert online.exits == {name: 0, run_id(left_over): 1}
    first, second = plain(online.history[name])
    assert (first["seed-1/test_accuracy"], first["seed-2/test_accuracy"]) == (1 / 64, 2 / 64)
    assert second["seed-1/test_accuracy"] == 2 / 64
    assert "seed-2/test_accuracy" not in second
    assert not list(folder.glob(".live-*"))
    assert (online.unknown, online.refused) == ([], [])
    found = mirror.mirror(made, told, settings, folder, "auto")
    assert (found.mode, found.written) == ("online", 3)
    assert set(online.exits.values()) == {0}
    wanted = expected["snip · density 0.1"]
    for record, epoch in zip(online.history[name], wanted["history"], strict=True):
        same(record, epoch)
    same(online.summary[name], wanted["summary"])


def plain(history):
    """Records without what the client adds."""
    return [{k: v for k, v in record.items() if not k.startswith("_")} for record in history]


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ({"broken": {"UpsertBucket"}}, "no UpsertBucket today"),
        ({"pause": 3600.0}, "has not taken all within 0.5 s"),
    ],
    ids=["raises", "hangs"],
)
def test_a_server_in_trouble_delays_nothing(
    trouble, says, online, seeds, request_of, tmp_path, monkeypatch
):
    for name, value in trouble.items():
        monkeypatch.setattr(online, name, value)
    with LiveRuns(request_of(seeds), tmp_path / "wandb", "online") as shown:
        shown.update(at(seeds, 1))
        began = time.monotonic()
        for epoch in range(2, 500):
            shown.update(at(seeds, epoch))
        assert time.monotonic() - began < 2
        if "broken" in trouble:
            until(lambda: not shown._stream._process.is_alive())
    began = time.monotonic()
    assert says in shown.wait(0.5)
    assert time.monotonic() - began < 3
    assert not list((tmp_path / "wandb").glob(".live-*"))


def test_without_a_login_nothing_is_streamed_and_nothing_said(
    online, seeds, request_of, tmp_path, monkeypatch
):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", os.devnull)
    with LiveRuns(request_of(seeds), tmp_path / "wandb", "auto") as shown:
        shown.update(at(seeds, 1))
        until(lambda: not shown._stream._process.is_alive())
        shown.update(at(seeds, 2))
    assert shown.wait() == ""
    assert online.runs == {}


def test_an_interrupt_ends_it_soon(online, seeds, request_of, tmp_path, monkeypatch):
    monkeypatch.setattr(online, "pause", 3600.0)
    monkeypatch.setattr(live, "INTERRUPTED", 0.2)
    shown = LiveRuns(request_of(seeds), tmp_path / "wandb", "online")
    shown.update(at(seeds, 1))
    process, began = shown._stream._process, time.monotonic()
    shown.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not process.is_alive()
    assert time.monotonic() - began < 5


def test_a_run_of_other_hyper_parameters_is_another_run(seeds):
    assert len({run_id(cell) for cell in seeds}) == 1
    assert run_id(replace(seeds[0], hyper={"images": 7})) != run_id(seeds[0])


def test_the_store_that_is_not_there_yet_is_no_trouble(streams, clock, seeds, request_of):
    request = request_of(seeds)
    assert not Store(request.runs, "quick").ids()
    with LiveRuns(request, None, "auto") as shown:
        shown.update(at(seeds, 1))
        clock[0] += 20
        shown.update(at(seeds, 2))
    assert said(streams[0].messages) == [("open", [1, 2, 3]), ("log", [1, 2])]
