"""What of a list of cells runs, and what this machine's past says about the time it takes."""

from dataclasses import replace

import pytest

from pai_bench import environment, grid, runner
from pai_bench.errors import BenchError
from pai_bench.hardware import Hardware
from pai_bench.launch import Order
from pai_bench.result import Result
from pai_bench.store import Store


def done(seconds, processor):
    known = {"device": "cpu", "processor": processor}
    return Result("done", seconds={"total": seconds}, environment=known)


def test_speed_is_measured_on_cells_that_ran_on_this_processor(tmp_path, quick, settings):
    one, other, broken = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2, 3))
    store = Store(tmp_path, "quick")
    assert runner.measured_speed(tmp_path, settings) is None
    store.put(one, done(3 * grid.assumed_seconds(one, settings), environment.processor()))
    store.put(other, done(1000.0, "another processor"))
    store.put(broken, Result("failed", "x"))
    assert runner.measured_speed(tmp_path, settings) == pytest.approx(3)


def test_cost_uses_what_was_measured_and_says_so(quick, settings):
    cells = quick(methods=("snip",), densities=(0.1,))
    plain = grid.cost(cells, settings)
    measured = grid.cost(cells, settings, speed=3.0, jobs=2)
    assert measured.seconds == pytest.approx(plain.seconds * 3 / 2)
    assert "typical" in plain.basis
    assert "this machine" in measured.basis


@pytest.mark.parametrize(
    ("hardware", "visible", "jobs"),
    [(Hardware("gpu"), "0,1,2", 3), (Hardware("auto"), "0", 1), (Hardware("tpu"), "", 1)],
)
def test_one_worker_per_device(hardware, visible, jobs, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert runner.default_jobs(Order("quick", (), settings, tmp_path, hardware)) == jobs


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
    found = runner.stored_cells(store, planned, methods)
    assert {cell.id for cell in found.cells} == {planned[0].id, plugin.id, sparser.id}
    assert {i: entry.cell for i, entry in found.entries.items()} == {
        cell.id: cell for cell in (plugin, sparser)
    }
    assert found.stale == 3
    with pytest.raises(BenchError, match="another version of PaI-Bench"):
        store.get(foreign.id)
