"""What jobs read is what was asked, and holds no keys."""

import math
from pathlib import Path

from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import bundles
from pai_bench.launch.cluster.submission import Submission, submissions
from pai_bench.launch.request import RunRequest
from pai_bench.store.lease import Leases


def test_a_request_comes_back_whole_but_for_the_environment(quick, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = quick(methods=("rigl", "snip"), densities=(0.2, 0.1), seeds=(1, 2))
    work = tuple(bundles(cells, 3))
    secret = {"WANDB_API_KEY": "a secret"}
    more = {"plugins": (Path("/a.py"),), "stacked": True, "command": "c", "environment": secret}
    asked = RunRequest("quick", work, settings, Path("runs"), Hardware("gpu", "0,1"), **more)
    submission = Submission.new(tmp_path / ".slurm", asked, work[1:])
    read = submission.request()
    assert read.bundles == work[1:]
    assert [bundle.id for bundle in read.bundles] == [bundle.id for bundle in work[1:]]
    assert (read.settings, read.hardware, read.plugins) == (settings, asked.hardware, asked.plugins)
    assert (read.runs, read.deadline, read.stacked) == (tmp_path / "runs", math.inf, True)
    assert read.environment == {}
    assert not any(b"a secret" in path.read_bytes() for path in submission.folder.iterdir())


def test_jobs_are_noted_and_found(quick, settings, tmp_path):
    work = tuple(bundles(quick(methods=("dense",), seeds=(1, 2))))
    asked = RunRequest("quick", work, settings, tmp_path, Hardware())
    submission = Submission.new(tmp_path / ".slurm", asked, work)
    assert submission.jobs() == {}
    submission.note_jobs(["7_0", "7_1"])
    (found,) = submissions(tmp_path / ".slurm")
    assert found.jobs() == {"7_0": work[0], "7_1": work[1]}
    found.discard()
    assert list(submissions(tmp_path / ".slurm")) == []


def test_what_may_be_taken_over_and_run_again_is_handed_on(quick, settings, tmp_path):
    (cell,) = quick(methods=("dense",), seeds=(1,))
    work = tuple(bundles([cell]))
    Leases(tmp_path, suite="quick").acquire(cell.id)
    dead = Leases(tmp_path, suite="quick").entries({cell.id})
    asked = RunRequest(
        "quick", work, settings, tmp_path.resolve(), Hardware(), dead=dead, failed={cell.id: "x"}
    )
    read = Submission.new(tmp_path / ".slurm", asked, work).request()
    assert (read.dead, read.failed) == (dead, {cell.id: "x"})
    assert dead[cell.id].name == cell.id
