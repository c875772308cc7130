"""Many cells: any number of workers gives the same, and nothing is lost when they end early."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pai_bench.config.overrides import with_overrides
from pai_bench.core.hardware import Hardware, gpus_of, share
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import bundles
from pai_bench.launch.events import Finished, Started
from pai_bench.launch.local import Local
from pai_bench.launch.request import RunRequest
from pai_bench.store.store import Store
from pai_bench.training import fit

ROOT = Path(__file__).parents[2]
CPU = Hardware("cpu", "1")


@pytest.mark.slow
def test_one_worker_or_two_in_any_order_give_the_same(tmp_path, quick, settings, numbers):
    cells = quick(methods=("random", "snip", "ntk-sap"), densities=(0.2, 0.05), seeds=(1,))
    found = []
    for jobs, size, ordered in ((1, 1, cells), (2, 1, cells[::-1]), (2, 3, cells)):
        runs = tmp_path / f"{jobs}-{size}"
        work = tuple(bundles(ordered, size))
        events = list(Local().launch(RunRequest("quick", work, settings, runs, CPU), jobs))
        assert [e.status for e in events if isinstance(e, Finished)] == ["done"] * len(cells)
        assert len([e for e in events if isinstance(e, Started)]) == len(work)
        found.append(numbers(Store(runs, "quick")))
    assert len(found[0]) == len(cells)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("accelerator", "devices", "visible", "spread"),
    [
        ("auto", "auto", "", []),
        ("auto", "auto", "0,1,2", [0, 1, 2]),
        ("gpu", "2", "0,1,2", [0, 1]),
        ("gpu", "0,2", "0,1,2", [0, 2]),
        ("gpu", "1,", "0,1,2", [1]),
        ("cpu", "auto", "0,1", []),
        ("tpu", "auto", "0,1", []),
    ],
)
def test_cells_are_spread_over_the_gpus_one_each(
    accelerator, devices, visible, spread, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    hardware = Hardware(accelerator, devices)
    assert gpus_of(hardware) == spread
    for worker, gpu in enumerate(spread * 2):
        assert share(hardware, worker).devices == f"{gpu},"


@pytest.mark.parametrize(
    ("hardware", "visible", "ranks"),
    [
        (Hardware("gpu", "2", "ddp"), "0,1,2", 2),
        (Hardware("gpu", "0,2", "ddp"), "0,1,2", 2),
        (Hardware("auto", "auto", "ddp"), "0,1,2", 3),
        (Hardware("cpu", "3", "ddp"), "0,1", 3),
        (Hardware("cpu", "auto", "ddp"), "", 1),
    ],
)
def test_by_ddp_a_network_has_all_devices(hardware, visible, ranks, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert hardware.ranks == ranks
    assert hardware.is_distributed == (ranks > 1)
    assert share(hardware, 1) == hardware or ranks == 1


PLUGIN = '''
import os, signal
from pai_bench import PruneAtInit
from pai_bench import register
from pai_bench import prunable

@register("dies")
class Dies(PruneAtInit):
    """Ends its process, as a fault in native code does."""
    def scores(self, network, batches):
        os.kill(os.getpid(), signal.SIGSEGV)

@register("exits")
class Exits(PruneAtInit):
    """Ends its process without a word to Python."""
    def scores(self, network, batches):
        print("out of luck", flush=True)
        os._exit(3)

@register("starved")
class Starved(PruneAtInit):
    """Is killed once, as by a system without memory."""
    def scores(self, network, batches):
        if not os.path.exists("mended"):
            os.kill(os.getpid(), signal.SIGKILL)
        return {name: weight.detach().abs() for name, weight in prunable(network)}

@register("once")
class Once(PruneAtInit):
    """Fails until the file is there."""
    def scores(self, network, batches):
        print("noise on stdout")
        if not os.path.exists("mended"):
            raise RuntimeError("not mended")
        return {name: weight.detach().abs() for name, weight in prunable(network)}
'''


def _interruptible():
    """Undo what a shell does to jobs in the background: they, and these tests, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder, *arguments):
    """Start a command in a process of its own, which can be killed."""
    command = [sys.executable, "-m", "pai_bench", *arguments]
    return subprocess.Popen(
        [*command, "--config", str(ROOT / "benchmark.yaml")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_interruptible,
    )


@pytest.mark.slow
def test_a_worker_that_dies_fails_its_cell_only_and_retry_runs_what_failed(call, tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    choice = (
        "--methods",
        "dies,exits,once,snip",
        "--densities",
        "0.1",
        "--seeds",
        "1",
        "--jobs",
        "1",
    )
    run = ("run", "quick", "--plugin", "plugin.py", *choice, "--set", "epochs=2")
    code, output, errors = call(*run)
    assert code == 1
    assert "signal 11 (SIGSEGV)" in output
    assert "the worker ended with exit code 3: out of luck" in output
    assert "RuntimeError: not mended" in output
    assert "noise on stdout" not in output
    assert "Traceback" not in output + errors
    store = Store(tmp_path / "runs", "quick+epochs=2")
    assert sorted(e.result.status for e in store.entries()) == ["done", *["failed"] * 3]
    (tmp_path / "mended").touch()
    code, output, _ = call(*run)
    assert (code, "0 run" in output) == (1, True)
    code, output, _ = call(*run, "--retry-failed")
    assert (code, "3 run" in output) == (1, True)
    assert sorted(e.result.status for e in store.entries()) == ["done", "done", "failed", "failed"]


def test_a_worker_that_the_system_kills_stops_the_run_and_fails_no_cell(call, tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    choice = ("--methods", "snip,starved", "--densities", "0.1", "--seeds", "1", "--jobs", "1")
    run = ("run", "quick", "--plugin", "plugin.py", *choice, "--set", "epochs=2", "--stack", "off")
    code, _, errors = call(*run)
    assert (code, errors.count("\n")) == (2, 1)
    assert "starved · density 0.1 · seed 1: the worker was killed by signal 9 (SIGKILL)" in errors
    assert "Use fewer --jobs" in errors
    store = Store(tmp_path / "runs", "quick+epochs=2")
    assert [e.result.status for e in store.entries()] == ["done"]
    (tmp_path / "mended").touch()
    code, output, _ = call(*run)
    assert (code, "1 run" in output, "1 found done" in output) == (0, True, True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_hardware_that_is_not_there_is_an_error_and_no_failed_cell(call, tmp_path):
    code, output, errors = call("run", "quick", "--accelerator", "gpu", "--jobs", "1")
    assert code == 2
    assert "error: hardware as asked cannot be used:" in errors
    assert "Traceback" not in output + errors
    assert Store(tmp_path / "runs", "quick").ids() == []


SIX = ("run", "quick", "--methods", "magnitude,snip", "--densities", "0.5,0.1,0.05",
       "--seeds", "1", "--jobs", "2", "--set", "epochs=10", "--stack", "off")  # fmt: skip
"""Long enough to be interrupted after the first cell; a bundle would store all at once."""
SUITE = "quick+epochs=10"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, settings, methods, numbers):
    """Numbers of the same six cells, run one after another in this process."""
    store = Store(tmp_path_factory.mktemp("whole"), SUITE)
    settings = with_overrides(settings, SUITE)
    six = grid.Selection(("magnitude", "snip"), (0.5, 0.1, 0.05), (1,))
    for cell in grid.cells(settings, methods, SUITE, six):
        outcome = fit.fit_cell(cell, settings, CPU)
        store.put(cell, outcome.result, outcome.curves, outcome.masks)
    return numbers(store)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interrupt_the_same_command_goes_on_to_the_same_results(
    call, tmp_path, how, uninterrupted, numbers
):
    process = start(tmp_path, *SIX)
    store = Store(tmp_path / "runs", SUITE)
    deadline = time.monotonic() + 60
    while not store.ids() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert "Traceback" not in output
    before = numbers(store)
    assert 0 < len(before) < 6
    assert all(store.verify(cell_id) == [] for cell_id in before)
    code, *_ = call(*SIX)
    assert code == 0
    after = numbers(store)
    assert len(after) == 6
    assert {key: after[key] for key in before} == before
    assert after == uninterrupted


def descendants(pid):
    """Processes below `pid`: the server that workers are forked from, and the workers."""
    below = [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [process for child in below for process in (child, *descendants(child))]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_go_with_the_command_in_the_midst_of_an_epoch(tmp_path, how):
    """An epoch of 1,438 steps with batches of one, told to nobody before it ends."""
    run = ("run", "quick", "--methods", "dense", "--seeds", "1", "--jobs", "1")
    process = start(tmp_path, *run, "--set", "batch_size=1", "--set", "epochs=1000")
    deadline = time.monotonic() + 60
    log = tmp_path / "runs" / "quick+batch_size=1+epochs=1000" / ".worker-0.log"
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = descendants(process.pid)
    assert workers
    process.send_signal(how)
    process.communicate(timeout=30)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{w}").exists() for w in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


ONE = ("run", "quick", "--methods", "snip", "--densities", "0.1", "--seeds", "1")


def test_a_second_identical_call_trains_nothing_and_loads_no_torch(call, tmp_path):
    run = (*ONE, "--set", "epochs=2")
    assert call(*run)[0] == 0
    code = (
        "import sys; from pai_bench.cli.main import main; "
        f"assert main({[*run, '--config', str(ROOT / 'benchmark.yaml')]!r}) == 0; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "0 run in 0 s, 1 found done" in done.stdout
    assert done.stdout.endswith("False\n")


def test_records_hold_no_keys_of_the_user(call, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 3)
    run = (*ONE, "--set", "epochs=2")
    monkeypatch.setattr(sys, "argv", ["pai-bench", *run])
    assert call(*run)[0] == 0
    for path in (tmp_path / "runs").rglob("*"):
        if path.is_file():
            assert b"0123456789abcdef" * 3 not in path.read_bytes()
    stored = json.loads(next((tmp_path / "runs").rglob("result.json")).read_text())
    assert stored["result"]["environment"]["command"].startswith("pai-bench run quick")
