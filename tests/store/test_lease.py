"""Leases: one holder at a time, whatever dies, sleeps or has another clock."""

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pai_bench.store import lease as lease_module
from pai_bench.store import lease_entry
from pai_bench.store.lease import Leases, held
from pai_bench.store.lease_entry import LOOKS
from pai_bench.store.lease_watch import LeaseWatch, acquire_or_wait

fork = multiprocessing.get_context("fork")


@pytest.fixture
def leases(tmp_path):
    return Leases(tmp_path, 60.0, "quick")


def names(leases):
    return sorted(path.name for path in leases.folder.iterdir()) if leases.folder.exists() else []


class Clock:
    """A monotonic clock of one host."""

    def __init__(self, start=0.0):
        self.now = start

    def __call__(self):
        return self.now


def watched(leases, looks=LOOKS + 1, clock=None, between=lambda: None):
    """A watch that has looked so often, each an interval after the last; and what is still held."""
    clock = clock or Clock()
    watch, busy = LeaseWatch(leases, clock), {}
    for _ in range(looks):
        busy = watch.look(["a"])
        clock.now += 10.0
        between()
    return watch, busy


def test_a_lease_has_one_holder_until_it_ends_or_is_given_back(leases):
    first = leases.acquire("a")
    assert leases.acquire("a") is None
    assert leases.acquire("b") is not None
    assert leases.entries({"a"})["a"].holder.suite == "quick"
    first.release()
    second = leases.acquire("a")
    assert second.number == 3
    assert second.renew()
    second.end()
    assert names(leases) == ["b.1"]
    assert leases.acquire("a").number == 1


def test_of_many_that_want_a_lease_one_gets_it(leases):
    with ThreadPoolExecutor(16) as pool:
        for number in range(50):
            got = list(pool.map(leases.acquire, [str(number)] * 16))
            assert sum(lease is not None for lease in got) == 1


def test_of_many_that_take_over_from_one_holder_one_succeeds(leases):
    """They have all seen the same dead entry, and begin at once."""
    for number in range(50):
        name = str(number)
        leases.acquire(name)
        dead, barrier = leases.current(name), threading.Barrier(16)

        def take_over(_turn, name=name, dead=dead, barrier=barrier):
            barrier.wait()
            return leases.acquire(name, dead)

        with ThreadPoolExecutor(16) as pool:
            got = [lease for lease in pool.map(take_over, range(16)) if lease]
        assert [lease.number for lease in got] == [2]


def contend(runs, turns, seed, log):
    """Get leases, say who is inside, and leave: with the lease ended, given back, or killed."""
    chance, leases = random.Random(seed), Leases(runs)
    for _ in range(turns):
        name = chance.choice("ab")
        lease = leases.acquire(name)
        if lease is None:
            continue
        os.write(log, f"{name} in {os.getpid()}\n".encode())
        if chance.random() < 0.2:
            time.sleep(0.0005)
        fate = chance.random()
        os.write(log, f"{name} out {os.getpid()}\n".encode())
        if fate < 0.1:
            os.kill(os.getpid(), signal.SIGKILL)
        if lease.renew() and fate < 0.5:
            lease.end()
        else:
            lease.release()


@pytest.mark.skipif(not lease_entry._boot(), reason="the dead are known by Linux's /proc")
def test_processes_that_come_and_go_and_die_are_never_two_at_once(tmp_path):
    """Ends mean no results here: numbers begin anew while others still count on old ones."""
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for wave in range(4):
        processes = [fork.Process(target=contend, args=(tmp_path, 150, 10 * wave + turn, log))
                     for turn in range(6)]  # fmt: skip
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    os.close(log)
    inside, entered = {}, 0
    for line in (tmp_path / "log").read_text().splitlines():
        name, what, process = line.split()
        if what == "in":
            assert name not in inside
            inside[name] = process
            entered += 1
        else:
            assert inside.pop(name) == process
    assert entered > 100


def test_who_was_taken_over_finds_out_at_the_next_beat_and_writes_nothing(leases):
    first = leases.acquire("a")
    second = leases.acquire("a", leases.current("a"))
    assert second is not None
    assert not first.is_lost
    first.beat()
    assert first.is_lost
    assert not first.renew()
    first.end()
    first.release()
    second.beat()
    assert not second.is_lost
    assert second.renew()


def test_who_was_taken_over_finds_out_before_it_writes(leases):
    first = leases.acquire("a")
    second = leases.acquire("a", leases.current("a"))
    assert not first.renew()
    second.end()
    assert not first.renew()


def test_who_was_taken_over_by_one_who_has_ended_does_not_enter_again(leases):
    first = leases.acquire("a")
    leases.acquire("a", leases.current("a")).end()
    assert not first.renew()
    assert names(leases) == []


def test_a_renewal_makes_what_was_seen_worthless(leases):
    first = leases.acquire("a")
    dead = leases.current("a")
    assert first.renew()
    assert leases.acquire("a", dead) is None


def test_a_beat_makes_what_was_seen_worthless(leases):
    first = leases.acquire("a")
    os.utime(first.path, ns=(0, 0))
    dead = leases.current("a")
    first.beat()
    assert leases.acquire("a", dead) is None


def test_a_holder_without_a_beat_is_dead_after_many_looks(leases):
    leases.acquire("a")
    watch, busy = watched(leases, LOOKS)
    assert (set(busy), watch.dead) == ({"a"}, {})
    watch, busy = watched(leases, LOOKS + 1)
    assert busy == {}
    assert leases.acquire("a", watch.dead["a"]).number == 2


def test_a_holder_that_beats_is_never_dead(leases):
    beating = leases.acquire("a")
    times = iter(range(1, 1000))

    def beat():
        beating.beat()
        os.utime(beating.path, ns=(0, next(times)))  # of a server whose clock is far behind

    watch, busy = watched(leases, 50, between=beat)
    assert (set(busy), watch.dead) == ({"a"}, {})


def test_who_slept_has_looked_once(leases):
    """The observer, or the file server, stood still: the holder did, too, and is about to go on."""
    leases.acquire("a")
    clock = Clock()
    watch = LeaseWatch(leases, clock)
    watch.look(["a"])
    clock.now += 10_000.0
    assert set(watch.look(["a"])) == {"a"}


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
def test_clocks_of_hosts_need_not_agree(leases, skew, monkeypatch):
    """The holder's clock, that of the file server and that of the observer are days apart."""
    monkeypatch.setattr(lease_module.time, "time", lambda: 1e9 + skew)
    beating = leases.acquire("a")
    server = iter(range(10**18, 10**18 + 99))

    def beat():
        beating.beat()
        os.utime(beating.path, ns=(0, next(server)))

    _, busy = watched(leases, 20, Clock(-skew), beat)
    assert set(busy) == {"a"}
    watch, busy = watched(leases, LOOKS + 1, Clock(skew))
    assert busy == {}
    assert leases.acquire("a", watch.dead["a"]) is not None


def test_an_entry_that_was_not_written_to_its_end_is_somebodys_for_a_while(leases):
    leases.folder.mkdir()
    for content in ("", '{"tok', "[]", '{"of another version": 1}'):
        (leases.folder / "a.1").write_text(content)
        assert leases.acquire("a") is None
        watch, busy = watched(leases)
        assert busy == {}
    assert leases.acquire("a", watch.dead["a"]).number == 2


def test_other_files_are_no_leases(leases):
    leases.folder.mkdir()
    for name in (".nfs000012", "a", "a.txt"):
        (leases.folder / name).touch()
    assert leases.entries() == {}
    assert leases.acquire("a").number == 1


def of(entry, **fields):
    return replace(entry, holder=replace(entry.holder, **fields))


@pytest.mark.skipif(not lease_entry._boot(), reason="the dead are known by Linux's /proc")
def test_the_dead_of_this_host_are_known_at_once_and_of_others_never(leases, tmp_path):
    pipe, of_child = fork.Pipe()

    def hold():
        lease = Leases(tmp_path).acquire("a")
        of_child.send(lease.number)
        time.sleep(60)

    process = fork.Process(target=hold)
    process.start()
    assert pipe.recv() == 1
    assert leases.acquire("a") is None
    alive = leases.current("a")
    process.kill()
    while lease_entry._started(process.pid):
        time.sleep(0.01)
    dead = leases.current("a")  # not waited for: a zombie
    assert (alive, dead.is_open) == (dead, True)
    assert not of(dead, boot="another host").is_open
    assert not of(dead, boot="").is_open
    process.join()
    assert dead.is_open
    assert leases.acquire("a").number == 2


@pytest.mark.skipif(not lease_entry._boot(), reason="the dead are known by Linux's /proc")
def test_a_number_of_a_process_that_another_has_by_now_is_no_life(leases):
    leases.acquire("a")
    entry = leases.current("a")
    assert not entry.is_open
    assert of(entry, started="1").is_open


def test_a_block_that_holds_leases_beats_and_gives_back_what_has_not_ended(tmp_path):
    leases = Leases(tmp_path, take_over=0.05 * LOOKS)
    threads = set(threading.enumerate())
    ended, kept, lost = (leases.acquire(name) for name in "abc")
    with held(ended, kept, lost):
        before = leases.current("b").beat
        assert leases.acquire("c", leases.current("c")) is not None
        deadline = time.monotonic() + 10
        while (leases.current("b").beat == before or not lost.is_lost) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.01)
        assert leases.current("b").beat > before
        assert lost.is_lost
        ended.end()
    assert names(leases) == ["b.1", "b.2", "c.1", "c.2"]
    assert leases.entries()["b"].is_open
    assert not leases.entries()["c"].is_open
    assert set(threading.enumerate()) <= threads


def test_a_block_without_leases_is_one(tmp_path):
    with held():
        pass
    assert not (tmp_path / "leases").exists()


def test_who_waits_gets_the_lease_of_a_dead_holder_or_what_it_made(tmp_path):
    leases, done = Leases(tmp_path, take_over=0.02 * LOOKS), tmp_path / "done"
    leases.acquire("a")  # never beats
    taken = acquire_or_wait(leases, "a", done.is_file)
    assert taken.number == 2
    with ThreadPoolExecutor(1) as pool, held(taken):
        waiting = pool.submit(acquire_or_wait, leases, "a", done.is_file)
        time.sleep(0.3)  # more than twice the time of a take-over
        assert not waiting.done()
        done.touch()
        assert waiting.result(10) is None


def test_what_is_left_of_the_dead_is_forgotten_and_the_living_are_not(leases):
    leases.acquire("a").release()
    leases.acquire("b")
    leases.acquire("c").release()
    leases.forget({"a", "b"})
    assert names(leases) == ["b.1", "c.1", "c.2"]


def test_an_entry_says_nothing_but_who_holds_it(leases):
    lease = leases.acquire("a")
    assert set(json.loads(lease.path.read_text())) == set(lease_entry.Holder.__dataclass_fields__)
