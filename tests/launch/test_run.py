"""What of a list of cells runs, and what this machine's past says about the time it takes."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from pai_bench.core import environment
from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.experiment import cost
from pai_bench.experiment.bundle import bundles
from pai_bench.launch import run as launch_run
from pai_bench.launch import speed
from pai_bench.launch.request import RunRequest
from pai_bench.store import comparable
from pai_bench.store.result import Result
from pai_bench.store.store import Store
from pai_bench.training import fit


def done(seconds, processor):
    known = {"device": "cpu", "processor": processor}
    return Result("done", seconds={"total": seconds}, environment=known)


def test_speed_is_measured_on_cells_that_ran_on_this_processor(tmp_path, quick, settings):
    one, other, broken = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2, 3))
    store = Store(tmp_path, "quick")
    assert speed.measured_speed([tmp_path], settings) is None
    store.put(one, done(3 * cost.assumed_seconds(one, settings), environment.processor()))
    store.put(other, done(1000.0, "another processor"))
    store.put(broken, Result("failed", "x"))
    found = speed.measured_speed([tmp_path], settings)
    assert found.overall == found(one) == pytest.approx(3)
    assert found(replace(one, method="imp")) == pytest.approx(3)
    assert speed.measured_speed([tmp_path], settings, gpu=True) is None


def test_a_method_that_searches_has_a_speed_of_its_own(tmp_path, quick, settings):
    (snip,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    imp = replace(snip, method="imp")
    store = Store(tmp_path, "quick")
    for cell, times in ((snip, 1.0), (imp, 6.0)):
        seconds = times * cost.assumed_seconds(cell, settings)
        store.put(cell, done(seconds, environment.processor()))
    measured = speed.measured_speed([tmp_path], settings)
    assert (measured(snip), measured(imp)) == pytest.approx((1.0, 6.0))
    assert measured(replace(snip, method="grasp")) == pytest.approx(3.5)
    assert measured.is_measured(imp)
    assert not measured.is_measured(replace(imp, network="lenet-5"))
    assert measured(replace(imp, network="lenet-5")) == pytest.approx(6.0)
    both = cost.estimate_cost([snip, imp], settings, measured)
    assert both.seconds == pytest.approx(7 * cost.assumed_seconds(snip, settings))


def test_cost_uses_what_was_measured_and_says_so(quick, settings):
    cells = quick(methods=("snip",), densities=(0.1,))
    plain = cost.estimate_cost(cells, settings)
    measured = cost.estimate_cost(cells, settings, speed=lambda _cell: 3.0, jobs=2)
    assert measured.seconds == pytest.approx(plain.seconds * 3 / 2)
    assert "typical" in plain.basis
    assert "this machine" in measured.basis


@pytest.mark.parametrize(
    ("hardware", "visible", "asked", "jobs"),
    [
        (Hardware("gpu"), "0,1,2", 0, 3), (Hardware("auto"), "0", 0, 1),
        (Hardware("tpu"), "", 0, 1), (Hardware("gpu"), "0", 18, 1), (Hardware("gpu"), "0,1", 1, 1),
        (Hardware("cpu"), "0", 5, 5),
    ],
)  # fmt: skip
def test_at_most_one_worker_per_gpu(
    hardware, visible, asked, jobs, settings, tmp_path, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    request = RunRequest("quick", (), settings, tmp_path, hardware)
    assert launch_run.number_of_jobs(request, asked) == jobs


@pytest.fixture
def suites(tmp_path, quick, settings):
    """Two cells that two suites share, and a function that runs the second suite."""
    found = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2), epochs=1)
    cells = tuple(cell for cell in found if cell.density < 1)

    def run():
        request = RunRequest("second", tuple(bundles(cells)), settings, tmp_path, Hardware("cpu"))
        return launch_run.run(request, 1, Console(file=io.StringIO()))

    return cells, Store(tmp_path, "first"), Store(tmp_path, "second"), run


def test_a_cell_that_another_suite_has_finished_is_not_run_again(suites, settings):
    (cell, missing), first, second, run = suites
    outcome = fit.fit_cell(cell, settings)
    first.put(cell, outcome.result, outcome.curves, outcome.masks)
    tally = run()
    assert (tally.ran, tally.stored, tally.copied, tally.failed) == (1, 1, 1, 0)
    assert second.get(cell.id).result == outcome.result
    assert second.verify(cell.id) == second.verify(missing.id) == []
    assert first.ids() == [cell.id]
    assert not [path for path in second.folder.iterdir() if path.name.startswith(f".{cell.id}")]
    tally = run()
    assert (tally.ran, tally.stored, tally.copied) == (0, 2, 0)


def test_what_failed_or_was_altered_in_another_suite_is_run(suites):
    (failed, altered), first, second, run = suites
    first.put(failed, Result("failed", "x"))
    first.put(altered, Result("done"), {"test_accuracy": [0.9]})
    (first.folder / altered.id / "curves.json").write_text("{}")
    tally = run()
    assert (tally.ran, tally.copied, tally.failed) == (2, 0, 0)
    assert [second.get(cell.id).result.status for cell in (failed, altered)] == ["done", "done"]


def test_stored_cells_join_the_board_when_only_method_density_or_seed_differ(
    tmp_path, quick, methods
):
    planned = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    store = Store(tmp_path, "quick")
    plugin = replace(planned[0], method="of-a-plugin")
    sparser = replace(planned[0], density=0.003)
    old = replace(planned[0], method_version=99)
    longer = replace(planned[0], recipe=planned[0].recipe.model_copy(update={"epochs": 77}))
    for cell in (plugin, sparser, old, longer):
        store.put(cell, Result("failed", "x"))
    foreign = replace(planned[0], seed=9)
    store.put(foreign, Result("failed", "x"))
    path = store.folder / foreign.id / "cell.json"
    path.write_text(path.read_text().replace('"epochs"', '"ages"'))
    found = comparable.stored_cells(store, planned, methods)
    assert {cell.id for cell in found.cells} == {planned[0].id, plugin.id, sparser.id}
    assert {i: entry.cell for i, entry in found.entries.items()} == {
        cell.id: cell for cell in (plugin, sparser)
    }
    assert found.stale == 3
    with pytest.raises(BenchError, match="another version of PaI-Bench"):
        store.get(foreign.id)
