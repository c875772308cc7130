"""A real Ray on this machine: the same results, also where a worker is killed in its midst."""

import contextlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.cluster import ray as ray_launcher
from pai_bench.launch.cluster.ray import Ray
from pai_bench.launch.events import Finished, Started
from pai_bench.launch.launcher import load_launcher
from pai_bench.launch.request import RunRequest
from pai_bench.store.store import Store
from pai_bench.training import fit
from pai_bench.training.checkpoint import TrainingCheckpoint
from pai_bench.training.progress import Progress

CPU = Hardware("cpu", "1")
PLUGIN = '''
from pai_bench import PruneAtInit, prunable, register
from pai_bench.training.checkpoint import TrainingCheckpoint

TrainingCheckpoint.every = 0.1

@register("often")
class Often(PruneAtInit):
    """Has a checkpoint soon, where others have one after two minutes."""
    def scores(self, network, batches):
        return {name: weight.detach().abs() for name, weight in prunable(network)}
'''


@pytest.fixture
def asked(quick, settings, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason='Ray is not installed: pip install "pai-bench[ray]"')
    monkeypatch.setattr(TrainingCheckpoint, "every", 120.0)  # set back, whoever loads the plugin
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    cells = quick(methods=("snip",), densities=(0.2, 0.1), seeds=(1,), epochs=25)
    work = (Bundle(tuple(replace(cell, method="often") for cell in cells if cell.density < 1)),)
    more = {"plugins": (plugin,), "command": "pai-bench run of a test"}
    return RunRequest("quick", work, settings, tmp_path / "runs", CPU, **more)


def descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [process for child in children for process in (int(child), *descendants(int(child)))]


def tasks():
    """Ray's workers, started by this process, that run a task of ours."""
    found = []
    for process in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::_run"):
                found.append(process)
    return found


@pytest.mark.slow
def test_a_worker_that_is_killed_goes_on_and_the_results_are_the_same_bits(
    asked, settings, numbers
):
    killed, statuses = [], []
    for event in Ray().launch(asked, 2):
        is_saved = isinstance(event, Progress) and event.epoch > 1
        if is_saved and not killed and list((asked.runs / "checkpoints").glob("*.ckpt")):
            killed += tasks()
            for process in killed:
                os.kill(process, signal.SIGKILL)
        if isinstance(event, Finished):
            statuses.append(event.status)
    assert killed
    assert statuses == ["done", "done"]
    store, (bundle,) = Store(asked.runs, "quick"), asked.bundles
    known = [entry.result.environment for entry in store.entries()]
    assert [each["resumed"] for each in known] == [1, 1]
    assert {each["command"] for each in known} == {"pai-bench run of a test"}
    assert not (asked.runs / "quick/.ray").exists()
    whole = Store(asked.runs.parent / "whole", "quick")
    for cell, outcome in zip(bundle, fit.fit(bundle, settings, CPU, asked.plugins), strict=True):
        whole.put(cell, outcome.result, outcome.curves, outcome.masks)
    assert numbers(store) == numbers(whole)


@pytest.mark.slow
def test_tasks_end_with_the_iterator(asked):
    with contextlib.closing(Ray().launch(asked, 1)) as events:
        next(event for event in events if isinstance(event, Started))
        running = [process for task in tasks() for process in (task, *descendants(task))]
        assert len(running) > 1
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{p}/exe").exists() for p in running) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{process}/exe").exists() for process in running)


def with_options(settings, **options):
    ray = settings.launchers.ray.model_copy(update=options)
    launchers = settings.launchers.model_copy(update={"ray": ray})
    return settings.model_copy(update={"launchers": launchers})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "127.0.0.1:1"}, "no cluster at 127.0.0.1:1: .*refused"),
        ({"gpus": 3}, "a bundle gets 3 gpus, this machine has 0"),
        ({"cpus": 10_000}, "a bundle gets 10000 cpus, this machine has [0-9]+"),
    ],
)
def test_what_cannot_be_had_is_one_line(asked, settings, options, said):
    wrong = replace(asked, settings=with_options(settings, **options))
    with pytest.raises(BenchError, match=rf"^launcher ray: {said}$"):
        list(Ray().launch(wrong, 1))
    assert not asked.runs.exists()


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(ray_launcher.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r'pip install "pai-bench\[ray\]"'):
        load_launcher("ray")


@pytest.mark.parametrize(
    ("options", "asked", "address", "jobs"),
    [
        ({"cpus": 10_000}, 0, None, 1),
        ({"cpus": 1, "jobs": 3}, 0, None, 3),
        ({"jobs": 3}, 5, None, 5),
        ({}, 0, "10.0.0.1:6379", 16),
        ({"gpus": 4}, 0, None, 1),
    ],
)
def test_the_number_of_tasks(monkeypatch, settings, options, asked, address, jobs):
    monkeypatch.setattr(ray_launcher.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.setenv("RAY_ADDRESS", address or "")
    assert Ray().number_of_jobs(with_options(settings, **options), asked) == jobs


def test_a_task_has_one_node(monkeypatch, settings):
    monkeypatch.setattr(ray_launcher.importlib.util, "find_spec", lambda name: True)
    with pytest.raises(BenchError, match="a task of Ray trains on one"):
        Ray().hardware(settings, Hardware("cpu", "1", "ddp", nodes=2))
