"""Launchers of clusters at the command line: what they are asked, what runs where, and Ctrl-C."""

import pytest

from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.launch import launcher
from pai_bench.launch.cluster.queued import QueuedJob
from pai_bench.launch.events import Started
from pai_bench.launch.launcher import ClusterLauncher, launchers, load_launcher
from pai_bench.store.store import Store

ONE = ("run", "quick", "--methods", "snip", "--densities", "0.1", "--seeds", "1,2",
       "--set", "epochs=1", "--launcher", "away")  # fmt: skip
BUNDLE = Bundle((Cell("snip", "n", "d", None, 0.1, 1, "", (), ()),))


class Away:
    """A cluster whose first job is interrupted."""

    def hardware(self, settings, asked):
        return Hardware("cpu", "1")

    def number_of_jobs(self, settings, asked):
        return asked or 7

    def launch(self, request, jobs):
        assert request.hardware == Hardware("cpu", "1")
        assert jobs == 7
        yield Started(request.bundles[0])
        raise KeyboardInterrupt

    def detached(self):
        return "2 jobs go on elsewhere"

    def queue(self, runs):
        where = {"suite": "quick", "bundle": BUNDLE}
        return [
            QueuedJob("7_0", "RUNNING", "node-3", "1:02", "None", **where),
            QueuedJob("7_1", "PENDING", "", "0:00", "Resources", **where),
        ]


@pytest.fixture
def away(monkeypatch):
    class Point:
        name, module, value = "away", "tests", f"{__name__}:Away"

    monkeypatch.setattr(launcher, "entry_points", lambda group: [Point])
    launchers.cache_clear()
    yield
    launchers.cache_clear()


def test_an_interrupt_says_what_goes_on_elsewhere(call, away, tmp_path):
    assert isinstance(load_launcher("away"), ClusterLauncher)
    assert not isinstance(load_launcher("local"), ClusterLauncher)
    code, output, errors = call(*ONE)
    assert code == 130
    assert "2 cells, 7 side by side" in output
    assert errors.endswith("interrupted: what is done is stored; 2 jobs go on elsewhere\n")
    assert Store(tmp_path / "runs", "quick+epochs=1").ids() == []


def test_status_shows_what_runs_where(call, away, tmp_path):
    assert "nothing has run in runs/" in call("status")[1]
    (tmp_path / "runs/quick/.away").mkdir(parents=True)
    code, output, _ = call("status")
    lines = [[word for word in line.split() if word != "│"] for line in output.splitlines()]
    trains = ["quick", "snip", "·", "density", "0.1", "·", "seed", "1"]
    assert code == 0
    assert ["7_0", "RUNNING", "node-3", "1:02", *trains] in lines
    assert ["7_1", "PENDING", "0:00", *trains, "Resources"] in lines


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--launcher", "local", "--launcher-option", "gpus=1"), "launcher local: it has no opt"),
        (("--launcher", "slurm", "--launcher-option", "minuts=1"), 'did you mean "minutes"'),
        (("--launcher", "ray", "--launcher-option", "gpus=many"), "launcher ray: gpus: input"),
    ],
)
def test_wrong_options_of_launchers_are_one_line(call, options, said):
    code, _, errors = call("plan", "quick", *options)
    assert (code, errors.count("\n")) == (2, 1)
    assert said in errors
