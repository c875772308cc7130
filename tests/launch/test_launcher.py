"""Launchers: found by name, and alike in what they tell."""

import os
from dataclasses import replace

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle, bundles
from pai_bench.launch import launcher
from pai_bench.launch.events import Finished, Rejected, Started
from pai_bench.launch.launcher import launchers, load_launcher
from pai_bench.launch.local import Local
from pai_bench.launch.request import RunRequest
from pai_bench.launch.run_bundle import run_bundle
from pai_bench.store.store import Store
from pai_bench.training.progress import Progress

CPU = Hardware("cpu", "1")


@pytest.fixture
def cells(quick):
    return quick(methods=("snip",), densities=(0.2,), seeds=(1, 2), epochs=1)


def request(cells, settings, runs, size=1, hardware=CPU, **more):
    work = tuple(bundles([cell for cell in cells if cell.density < 1], size))
    return RunRequest("quick", work, settings, runs, hardware, **more)


class InThisProcess:
    """The smallest launcher: no worker at all."""

    def launch(self, request, jobs):
        for bundle in request.bundles:
            yield Started(bundle)
            events = []
            run_bundle(request, bundle, request.hardware, events.append)
            yield from events


def test_the_local_launcher_is_found_by_name():
    assert isinstance(load_launcher("local"), Local)
    assert "worker processes" in launchers()["local"]


def test_an_unknown_launcher_is_one_line_with_the_nearest_name():
    with pytest.raises(BenchError, match='unknown launcher "locl"; did you mean "local"'):
        load_launcher("locl")


def test_an_installed_package_offers_a_launcher(monkeypatch):
    class Point:
        name, module, value = "here", "tests", f"{__name__}:InThisProcess"

    monkeypatch.setattr(launcher, "entry_points", lambda group: [Point] * (group == launcher.GROUP))
    launchers.cache_clear()
    try:
        assert set(launchers()) == {"local", "slurm", "ray", "here"}
        assert launchers().origin("here").endswith(":InThisProcess")
    finally:
        launchers.cache_clear()


def test_a_launcher_that_cannot_be_imported_is_one_line(monkeypatch):
    class Point:
        name, module, value = "gone", "no_such_package", "no_such_package:Launcher"

    monkeypatch.setattr(launcher, "entry_points", lambda group: [Point])
    launchers.cache_clear()
    try:
        with pytest.raises(BenchError, match="launcher gone of no_such_package:Launcher: Module"):
            load_launcher("gone")
    finally:
        launchers.cache_clear()


def test_all_launchers_store_the_same_and_tell_the_same(cells, settings, tmp_path):
    stored = []
    for name, way in (("a", InThisProcess()), ("b", Local())):
        asked = request(cells, settings, tmp_path / name)
        events = list(way.launch(asked, 1))
        assert [type(e) for e in events if not isinstance(e, Progress)] == [Started, Finished] * 2
        assert {e.epoch for e in events if isinstance(e, Progress)} == {0, 1}
        entries = Store(tmp_path / name, "quick").entries()
        stored.append([(e.cell.id, e.result.accuracy, e.curves()) for e in entries])
    assert len(stored[0]) == 2
    assert stored[0] == stored[1]


def test_a_bundle_of_two_cells_is_one_start_and_two_ends(cells, settings, tmp_path):
    events = list(Local().launch(request(cells, settings, tmp_path, size=2), 1))
    kinds = [type(e).__name__ for e in events if not isinstance(e, Progress)]
    assert kinds == ["Started", "Finished", "Finished"]
    assert all(Store(tmp_path, "quick").verify(cell.id) == [] for cell in cells if cell.density < 1)


def test_a_bundle_that_cannot_be_run_here_is_rejected_and_not_stored(cells, settings, tmp_path):
    asked = request(cells, settings, tmp_path, hardware=Hardware("cpu", "0,1,2"))
    events = []
    run_bundle(asked, asked.bundles[0], asked.hardware, events.append)
    (rejected,) = events
    assert isinstance(rejected, Rejected)
    assert rejected.bundle == Bundle((cells[0],))
    assert Store(tmp_path, "quick").ids() == []


def test_a_worker_has_environment_and_command_line_of_the_request(cells, settings, tmp_path):
    """Not those of the process that happened to start the server which it was forked from."""
    plugin = tmp_path / "looks.py"
    plugin.write_text(
        "import os\nfrom pai_bench import PruneAtInit, prunable, register\n\n\n"
        '@register("looks")\nclass Looks(PruneAtInit):\n    """Fails without the variable."""\n\n'
        "    def scores(self, network, batches):\n"
        '        assert os.environ["ONLY_IN_THE_REQUEST"] == "1"\n'
        "        return {name: weight.detach().abs() for name, weight in prunable(network)}\n"
    )
    looks = [replace(cell, method="looks") for cell in cells]
    variables = {**os.environ, "ONLY_IN_THE_REQUEST": "1"}
    more = {"plugins": (plugin,), "command": "pai-bench run of a test", "environment": variables}
    list(Local().launch(request(looks, settings, tmp_path, **more), 2))
    results = [entry.result for entry in Store(tmp_path, "quick").entries()]
    assert [result.status for result in results] == ["done", "done"]
    assert {result.environment["command"] for result in results} == {"pai-bench run of a test"}
    assert "ONLY_IN_THE_REQUEST" not in os.environ
