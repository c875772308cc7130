"""A real Slurm: arrays of bundles, signals and requeues in their midst, what the queue refuses."""

import os
import subprocess
import threading
import time
from dataclasses import replace

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle, bundles
from pai_bench.launch.cluster import follow, slurm
from pai_bench.launch.cluster.slurm import Slurm
from pai_bench.launch.events import Finished, Started
from pai_bench.launch.launcher import hardware_of, load_launcher
from pai_bench.launch.request import RunRequest
from pai_bench.store import checkpoint_files
from pai_bench.store.store import Store
from pai_bench.training import fit
from pai_bench.training.progress import Progress

from .slurm_cluster import SlurmCluster, missing

CPU = Hardware("cpu", "1")
pytest.importorskip("submitit", reason="submitit is not installed")


@pytest.fixture(scope="module")
def cluster():
    if missing():
        pytest.skip(missing())
    started = SlurmCluster()
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture
def queue(cluster, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(cluster.configuration))
    monkeypatch.setattr(slurm._Queue, "pace", 0.5)


def ask(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout


@pytest.fixture
def impatient(queue):
    """Let jobs that were queued again start at once: Slurm waits until their credentials expire."""
    ended = threading.Event()

    def hurry():
        while not ended.wait(0.3):
            for line in ask("squeue", "--noheader", "--array", "--format=%i|%r").splitlines():
                job, _, reason = line.partition("|")
                if reason == "BeginTime":
                    ask("scontrol", "update", f"jobid={job}", "starttime=now")

    thread = threading.Thread(target=hurry)
    thread.start()
    yield
    ended.set()
    thread.join()


def with_options(settings, **options):
    launchers = settings.launchers
    changed = launchers.model_copy(update={"slurm": launchers.slurm.model_copy(update=options)})
    return settings.model_copy(update={"launchers": changed})


DIES = '''
import os, signal
from pai_bench import PruneAtInit, register

@register("dies")
class Dies(PruneAtInit):
    """Ends its process, as a fault in native code does."""
    def scores(self, network, batches):
        os.kill(os.getpid(), signal.SIGSEGV)
'''


@pytest.mark.slow
def test_jobs_that_are_signalled_and_requeued_end_with_the_same_bits(
    impatient, tmp_path, quick, settings, numbers
):
    """One array: a bundle gets the signal before a time limit, one is requeued, one dies."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text(DIES)
    cells = quick(methods=("snip",), densities=(0.2, 0.1), seeds=(1, 2), epochs=25)
    cells = [cell for cell in cells if cell.density < 1]
    work = (*bundles(cells, 2), Bundle((replace(cells[0], method="dies"),)))
    more = {"plugins": (plugin,), "command": "pai-bench run of a test"}
    asked = RunRequest("quick", work, settings, tmp_path / "runs", CPU, **more)

    first = Slurm()
    events = first.launch(asked, 3)
    next(event for event in events if isinstance(event, Started))
    events.close()
    (submitted,) = (tmp_path / "runs/quick/.slurm").iterdir()
    array = first.detached().split("scancel ")[1].split("`")[0]
    assert first.detached().startswith("3 jobs go on in the queue")

    interrupt = {
        work[0].id: ("scancel", "--signal=USR2", f"{array}_0"),
        work[1].id: ("scontrol", "requeue", f"{array}_1"),
    }
    written, finished, shown = {}, [], []
    again = Slurm()
    for event in again.launch(asked, 3):
        if isinstance(event, Progress) and event.epoch and event.bundle.id in interrupt:
            shown += again.queue(tmp_path / "runs")
            sent = time.time()
            ask(*interrupt.pop(event.bundle.id))
            place = checkpoint_files.path(tmp_path / "runs", event.bundle)
            while not place.is_file() and time.time() < sent + 5:
                time.sleep(0.02)
            written[event.bundle.id] = time.time() - sent
        if isinstance(event, Finished):
            finished.append(event)

    assert [path for path in submitted.parent.iterdir()] == [submitted]
    assert set(written) == {bundle.id for bundle in work[:2]}
    assert max(written.values()) < 5
    assert {job.state for job in shown} >= {"RUNNING"}
    assert all(bundle in [job.bundle for job in shown] for bundle in work[:2])
    failed = [event for event in finished if event.status == "failed"]
    assert [event.cell.method for event in failed] == ["dies"]
    assert failed[0].reason == "the job was killed by signal 11 (SIGSEGV)"
    store, whole = Store(tmp_path / "runs", "quick"), Store(tmp_path / "whole", "quick")
    for bundle in work[:2]:
        for cell, outcome in zip(bundle, fit.fit(bundle, settings, CPU), strict=True):
            assert outcome.result.status == "done", outcome.result.reason
            whole.put(cell, outcome.result, outcome.curves, outcome.masks)
            known = store.get(cell.id).result.environment
            assert known["resumed"] == 1
            assert known["command"] == "pai-bench run of a test"
    ids = {cell.id for cell in cells}
    assert numbers(store, ids) == numbers(whole, ids)


@pytest.mark.slow
def test_a_network_is_trained_by_two_nodes_and_goes_on_after_a_signal(
    impatient, tmp_path, quick, settings
):
    (cell,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,), epochs=20)[-1:]
    cell = replace(cell, precision="64-true")
    # The names of these nodes are Slurm's alone.
    two = with_options(settings, nodes=2, setup=("export MASTER_ADDR=127.0.0.1",))
    asked = Hardware("cpu", "1", "ddp")
    hardware = Slurm().hardware(two, asked)
    assert hardware == replace(asked, nodes=2)
    request = RunRequest("quick", (Bundle((cell,)),), two, tmp_path / "runs", hardware)
    signalled = False
    for event in Slurm().launch(request, 1):
        if isinstance(event, Progress) and event.epoch and not signalled:
            (job,) = Slurm().queue(tmp_path / "runs")
            signalled = not ask("scancel", "--signal=USR2", job.id)
    (entry,) = Store(tmp_path / "runs", "quick").entries()
    assert signalled
    assert entry.result.status == "done", entry.result.reason
    assert entry.result.environment["resumed"] == 1
    trained = entry.result.environment["training"]
    assert (trained["devices"], trained["nodes"]) == (2, 2)
    alone = fit.fit_cell(cell, settings, CPU)
    assert alone.result.accuracy == entry.result.accuracy
    assert alone.masks.digest() == entry.masks().digest()


def test_a_job_that_somebody_cancels_fails_no_cell_and_is_submitted_again(
    queue, tmp_path, quick, settings
):
    cells = quick(methods=("dense",), seeds=(1,))
    held = with_options(settings, options={"hold": True})
    asked = RunRequest("quick", tuple(bundles(cells)), held, tmp_path, CPU)

    def cancel():
        while not (jobs := Slurm().queue(tmp_path)):
            time.sleep(0.1)
        ask("scancel", jobs[0].id)

    for _ in range(2):
        thread = threading.Thread(target=cancel)
        thread.start()
        assert list(Slurm().launch(asked, 1)) == []
        thread.join()
    assert Store(tmp_path, "quick").ids() == []
    assert len(list((tmp_path / "quick/.slurm").iterdir())) == 1


def test_after_the_deadline_jobs_leave_the_queue(queue, tmp_path, quick, settings, monkeypatch):
    monkeypatch.setattr(follow, "GRACE", 0.1)
    cells = quick(methods=("dense",), seeds=(1,))
    held = with_options(settings, options={"hold": True})
    work = tuple(bundles(cells))
    asked = RunRequest("quick", work, held, tmp_path, CPU, deadline=time.time() + 0.5)
    assert list(Slurm().launch(asked, 1)) == []
    assert Slurm().queue(tmp_path) == []


def test_what_the_queue_refuses_is_one_line_and_leaves_nothing(queue, tmp_path, quick, settings):
    cells = quick(methods=("dense",), seeds=(1, 2))
    wrong = with_options(settings, partition="nowhere")
    asked = RunRequest("quick", tuple(bundles(cells)), wrong, tmp_path, CPU)
    with pytest.raises(BenchError, match=r"^launcher slurm: .*invalid partition .*nowhere$"):
        list(Slurm().launch(asked, 1))
    assert list((tmp_path / "quick/.slurm").iterdir()) == []


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="no sbatch here: use a login node"):
        load_launcher("slurm")
    monkeypatch.setattr(slurm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r'pip install "pai-bench\[slurm\]"'):
        load_launcher("slurm")


def test_bundles_run_on_what_they_are_given():
    assert hardware_of("slurm", 0, Hardware("auto", "auto")).accelerator == "cpu"
    assert hardware_of("slurm", 1, Hardware("gpu", "auto")).accelerator == "gpu"
    with pytest.raises(BenchError, match=r"--accelerator gpu: .* \(slurm.gpus is 0\)"):
        hardware_of("slurm", 0, Hardware("gpu", "auto"))


def test_options_are_those_of_sbatch(settings, tmp_path):
    options = {"partition": "gpu", "account": "us", "gpus": 2, "memory_gb": 1.5, "minutes": 30,
               "setup": ("module load cuda",), "options": {"constraint": "a100"}}  # fmt: skip
    changed = with_options(settings, **options)
    request = RunRequest("mnist", (), changed, tmp_path, replace(CPU, nodes=3))
    given = slurm._parameters(changed.launchers.slurm, request, 7)
    executor = pytest.importorskip("submitit").SlurmExecutor
    lines = executor._make_submission_file_text(
        type("X", (), {"folder": tmp_path, "parameters": {**given, "map_count": 9}}), "true", ""
    ).splitlines()
    for line in ("nodes=3", "partition=gpu", "account=us", "gpus-per-node=2", "time=30",
                 "array=0-8%7", "signal=USR2@90", "cpus-per-task=1", "constraint=a100",
                 "requeue"):  # fmt: skip
        assert f"#SBATCH --{line}" in lines, line
    assert "module load cuda" in lines


def test_the_environment_is_that_of_the_request(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    before = dict(os.environ)
    with slurm._submitting({"A": "1", "SLURM_JOB_ID": "2", "SLURM_CONF": "x"}):
        assert dict(os.environ) == {"A": "1", "SLURM_CONF": "x"}
    assert dict(os.environ) == before
