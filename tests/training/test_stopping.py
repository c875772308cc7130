"""A training that is asked to stop does so at its next step, and goes on from there."""

import subprocess
import sys
import threading

import pytest

from pai_bench.core import processes
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.store import checkpoint_files
from pai_bench.training import fit
from pai_bench.training.checkpoint import OutOfTime
from pai_bench.training.failure import failure_of

CPU = Hardware("cpu", "1")


@pytest.fixture
def asked(monkeypatch):
    event = threading.Event()
    monkeypatch.setattr(processes, "_asked_to_end", event)
    return event


def test_it_stops_after_one_step_and_ends_with_the_same_bits(asked, quick, settings, tmp_path):
    cells = quick(methods=("snip",), densities=(0.2, 0.1), seeds=(1,), epochs=2)
    bundle = Bundle(tuple(cell for cell in cells if cell.density < 1))
    whole = fit.fit(bundle, settings, CPU)
    processes.end_when_asked()
    with pytest.raises(OutOfTime):
        fit.fit(bundle, settings, CPU, runs=tmp_path)
    assert checkpoint_files.path(tmp_path, bundle).is_file()
    asked.clear()
    resumed = fit.fit(bundle, settings, CPU, runs=tmp_path)
    assert [outcome.curves for outcome in resumed] == [outcome.curves for outcome in whole]
    assert {outcome.result.environment["resumed"] for outcome in resumed} == {1}


def test_what_fails_after_that_is_no_failure(asked):
    assert failure_of(RuntimeError("x")).reason == "RuntimeError: x"
    processes.end_when_asked()
    with pytest.raises(OutOfTime):
        failure_of(RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated."))


SIGNALLED = """
import os, signal, sys, threading, time
sys.modules["torch"] = None
from pai_bench.core import processes
if sys.argv[1] == "other threads":  # that were there before, and block nothing
    threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
number = signal.Signals[sys.argv[2]]
processes.end_on((signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2))
assert not processes.is_asked_to_end()
os.kill(os.getpid(), number)
for _ in range(200):
    time.sleep(0.01)
    if processes.is_asked_to_end():
        print("asked")
        break
"""


@pytest.mark.parametrize("number", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
@pytest.mark.parametrize("threads", ["one thread", "other threads"])
def test_a_signal_asks(number, threads):
    command = [sys.executable, "-c", SIGNALLED, threads, number]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("asked\n", 0), done.stderr
