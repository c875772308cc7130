"""A run among other processes: what they train is put off, waited for, or taken over."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle, bundles
from pai_bench.launch import cell_leases
from pai_bench.launch import run as launch_run
from pai_bench.launch.bundling import bundled
from pai_bench.launch.events import Finished, PutOff, Started
from pai_bench.launch.request import RunRequest
from pai_bench.store import checkpoint_files
from pai_bench.store.lease import Leases, held
from pai_bench.store.lease_entry import LOOKS
from pai_bench.store.result import Result
from pai_bench.store.store import Store

CPU = Hardware("cpu", "1")
DONE = Result("done")


class WithoutTraining:
    """Launcher that holds leases and stores results, and trains nothing."""

    def __init__(self, pause=0.0):
        self.stored, self.pause, self.bundles = [], pause, []

    def launch(self, request, jobs):
        for bundle in request.bundles:
            yield Started(bundle)
            taken = cell_leases.acquire(request, bundle)
            self.bundles.append(taken.to_train)
            with held(*taken.leases.values()):
                yield from taken.events
                for cell in taken.to_train or ():
                    time.sleep(self.pause)
                    event = cell_leases.store_result(taken, cell, DONE)
                    if isinstance(event, Finished) and not event.by_others:
                        self.stored.append(cell.id)
                    yield event


@pytest.fixture
def cells(quick):
    found = quick(methods=("snip",), densities=(0.5, 0.2, 0.1, 0.05), seeds=(1, 2, 3))
    return [cell for cell in found if cell.density < 1]


@pytest.fixture
def run(tmp_path, settings, monkeypatch):
    """Run cells with a launcher of ours: the tally, and what was shown."""

    def call(cells, launcher=None, suite="quick", take_over=60.0, size=1, **more):
        known = settings.model_copy(update={"take_over": take_over})
        deadline = more.pop("deadline", float("inf"))
        request = RunRequest(suite, tuple(bundles(cells)), known, tmp_path, CPU, deadline=deadline)
        console = Console(file=io.StringIO(), width=200)
        monkeypatch.setattr(launch_run, "load_launcher", lambda _: launcher or WithoutTraining())
        monkeypatch.setattr(launch_run, "bundle_size", lambda *_: size)
        return launch_run.run(request, 1, console, **more), console.file.getvalue()

    return call


@pytest.fixture
def others(tmp_path):
    """Leases as another process gets them, by id of the cell."""
    return Leases(tmp_path, 0.05 * LOOKS, "quick").acquire


def later(seconds, do):
    timer = threading.Timer(seconds, do)
    timer.start()
    return timer


def test_two_runs_at_once_train_each_cell_once(cells, tmp_path, settings, monkeypatch):
    """Twelve cells, each run in pieces of two from the first on: both want the same."""
    launchers = [WithoutTraining(0.01), WithoutTraining(0.01)]
    monkeypatch.setattr(launch_run, "load_launcher", lambda name: launchers[int(name)])
    monkeypatch.setattr(launch_run, "bundle_size", lambda *_: 2)
    request = RunRequest("quick", tuple(bundles(cells)), settings, tmp_path, CPU)

    def run(name):
        return launch_run.run(request, 1, Console(file=io.StringIO()), launcher=name)

    with ThreadPoolExecutor(2) as pool:
        tallies = list(pool.map(run, "01"))
    stored = launchers[0].stored + launchers[1].stored
    assert sorted(stored) == sorted(cell.id for cell in cells)
    assert [tally.ran for tally in tallies] == [len(one.stored) for one in launchers]
    assert all(tally.ran + tally.by_others + tally.stored == 12 for tally in tallies)
    assert not (tmp_path / "leases").exists()


def test_what_another_process_trains_is_waited_for_and_not_trained(cells, run, others, tmp_path):
    lease = others(cells[0].id)

    def finish():
        assert lease.renew()
        Store(tmp_path, "quick").put(cells[0], DONE)
        lease.end()

    launcher = WithoutTraining()
    timer = later(0.4, finish)
    tally, shown = run(cells[:3], launcher)
    timer.join()
    assert sorted(launcher.stored) == sorted(cell.id for cell in cells[1:3])
    assert (tally.ran, tally.by_others, tally.left) == (2, 1, 0)
    assert "waiting for 1 cells that " in shown
    assert shown.splitlines()[-1].startswith("3/3 cells done")


def test_what_another_process_gives_back_is_trained(cells, run, others):
    timer = later(0.3, others(cells[0].id).release)
    tally, _ = run(cells[:2])
    timer.join()
    assert (tally.ran, tally.by_others) == (2, 0)


def test_what_nobody_beats_for_is_taken_over_in_time(cells, run, others):
    lease = others(cells[0].id)
    started = time.monotonic()
    tally, _ = run(cells[:2])
    assert 0.05 * LOOKS <= time.monotonic() - started < 10
    assert tally.ran == 2
    assert not lease.renew()


def test_a_time_budget_ends_the_waiting(cells, run, others):
    others(cells[0].id)
    lease = others(cells[1].id)
    with held(lease):
        tally, _ = run(cells[1:3], deadline=time.time() + 0.5)
    assert (tally.ran, tally.left) == (1, 1)


def test_what_another_suite_trains_meanwhile_is_copied(cells, run, others, tmp_path):
    lease = others(cells[0].id)

    def finish():
        Store(tmp_path, "another").put(cells[0], DONE)
        lease.end()

    timer = later(0.3, finish)
    tally, _ = run(cells[:1])
    timer.join()
    assert (tally.ran, tally.by_others) == (0, 1)
    assert Store(tmp_path, "quick").status(cells[0]) == "done"


def test_of_two_that_retry_what_failed_one_does(cells, run, others, tmp_path):
    store = Store(tmp_path, "quick")
    for cell in cells[:2]:
        store.put(cell, Result("failed", "the first time"))
    lease = others(cells[0].id)

    def fail_again():
        store.put(cells[0], Result("failed", "the second time"))
        lease.end()

    launcher = WithoutTraining()
    timer = later(0.3, fail_again)
    tally, _ = run(cells[:2], launcher, retry_failed=True)
    timer.join()
    assert launcher.stored == [cells[1].id]
    assert (tally.ran, tally.by_others, tally.failed) == (1, 1, 1)
    assert run(cells[:2])[0].ran == 0


def request_of(cells, settings, runs):
    return RunRequest("quick", tuple(bundles(cells)), settings, runs, CPU)


def test_of_a_bundle_the_cells_up_to_the_first_that_others_have_are_got(
    cells, settings, others, tmp_path
):
    store = Store(tmp_path, "quick")
    store.put(cells[0], DONE)
    others(cells[2].id)
    bundle = Bundle(tuple(cells[:4]))
    taken = cell_leases.acquire(request_of(cells, settings, tmp_path), bundle)
    assert taken.to_train == Bundle((cells[1],))
    found, put_off = taken.events
    assert (found.cell, found.status, found.by_others) == (cells[0], "done", True)
    assert put_off == PutOff(bundle, tuple(cells[2:4]))


def test_a_result_that_is_there_already_is_not_written_over(cells, settings, tmp_path):
    store = Store(tmp_path, "quick")
    taken = cell_leases.acquire(request_of(cells, settings, tmp_path), Bundle(tuple(cells[:1])))
    store.put(cells[0], Result("done", "first"))
    event = cell_leases.store_result(taken, cells[0], Result("failed", "second"))
    assert (event.status, event.reason, event.by_others) == ("done", "first", True)
    assert store.get(cells[0].id).result.reason == "first"


def test_what_was_taken_over_is_not_stored(cells, settings, tmp_path):
    leases = Leases(tmp_path)
    taken = cell_leases.acquire(request_of(cells, settings, tmp_path), Bundle(tuple(cells[:1])))
    assert leases.acquire(cells[0].id, leases.current(cells[0].id)) is not None
    assert not taken.is_lost()
    assert taken.is_lost(now=True)
    event = cell_leases.store_result(taken, cells[0], DONE)
    assert isinstance(event, PutOff)
    assert Store(tmp_path, "quick").ids() == []


def test_who_takes_over_removes_what_is_half_written(cells, settings, tmp_path):
    leases, store = Leases(tmp_path), Store(tmp_path, "quick")
    leases.acquire(cells[0].id).release()
    halves = [store.folder / f".{cell.id}.0123.part" for cell in cells[:2]]
    for half in halves:
        half.mkdir(parents=True)
    cell_leases.acquire(request_of(cells, settings, tmp_path), Bundle(tuple(cells[:1])))
    assert [half.exists() for half in halves] == [False, True]


def test_after_an_error_no_lease_is_held(cells, settings, tmp_path, monkeypatch):
    def fails(held, cell):
        raise OSError("the disk is gone")

    monkeypatch.setattr(cell_leases, "_found", fails)
    with pytest.raises(OSError, match="gone"):
        cell_leases.acquire(request_of(cells, settings, tmp_path), Bundle(tuple(cells[:2])))
    assert all(entry.is_open for entry in Leases(tmp_path).entries().values())


def with_checkpoint(runs, cells):
    bundle = Bundle(tuple(cells))
    checkpoint_files.note_cells(runs, bundle)
    place = checkpoint_files.path(runs, bundle)
    place.parent.mkdir(exist_ok=True)
    place.touch()
    return bundle


def test_bundles_with_a_checkpoint_are_formed_again(cells, run, tmp_path):
    begun = with_checkpoint(tmp_path, [cells[1], cells[4], cells[2]])
    with_checkpoint(tmp_path, cells[5:9])  # larger than a bundle of this run
    launcher = WithoutTraining()
    run(cells, launcher, size=3)
    assert begun in launcher.bundles
    assert sorted(launcher.stored) == sorted(cell.id for cell in cells)
    assert max(len(bundle) for bundle in launcher.bundles) == 3


def test_a_bundle_of_which_a_cell_is_done_is_not_formed_again(cells, settings, tmp_path):
    with_checkpoint(tmp_path, cells[:3])
    left = {cell.id: cell for cell in cells[1:]}
    assert checkpoint_files.begun(tmp_path, left) == []
    again = checkpoint_files.begun(tmp_path, {cell.id: cell for cell in cells})
    work = bundled(cells, 4, CPU, settings, begun=again)
    assert [len(bundle) for bundle in work] == [3, 4, 4, 1]
    assert work[0].cells == tuple(cells[:3])


def test_checkpoints_of_cells_that_are_done_are_removed(cells, run, tmp_path):
    with_checkpoint(tmp_path, cells[:2])
    with_checkpoint(tmp_path, cells[2:3])
    kept = with_checkpoint(tmp_path, cells[3:5])
    checkpoint_files.forget(tmp_path, {cell.id for cell in cells[:4]})
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {f"{kept.id}.ckpt", f"{kept.id}.json"}
    assert set(checkpoint_files.last_written(tmp_path)) == {cell.id for cell in kept}
    checkpoint_files.forget(tmp_path, {cell.id for cell in cells})
    assert not (tmp_path / "checkpoints").exists()
