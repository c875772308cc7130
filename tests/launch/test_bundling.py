"""Which networks are trained together, and how a time budget is kept."""

import time
from dataclasses import replace

import pytest

from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch import bundling, probe
from pai_bench.launch.bundling import bundled, is_stacked
from pai_bench.store import checkpoint_files
from pai_bench.store.store import Store
from pai_bench.training import fit
from pai_bench.training.checkpoint import OutOfTime

CPU, GPU = Hardware("cpu"), Hardware("gpu", "1")


@pytest.fixture
def cells(quick):
    return quick(methods=("snip", "random"), densities=(0.2, 0.1), seeds=(1, 2, 3))


def sizes(bundles):
    return [len(bundle) for bundle in bundles]


@pytest.mark.parametrize(
    ("stack", "hardware", "stacked"),
    [("auto", CPU, False), ("auto", GPU, True), ("off", GPU, False), (4, CPU, True)],
)
def test_a_stack_is_made_where_it_is_asked_for_or_there_is_a_gpu(stack, hardware, stacked):
    assert is_stacked(stack, hardware) is stacked


def test_on_a_cpu_short_cells_are_trained_in_step(cells, settings):
    assert sizes(bundled(cells, "auto", CPU, settings)) == [8, 8, 8]
    assert sizes(bundled(cells, "off", CPU, settings)) == [1] * 24
    assert sizes(bundled(cells, 5, CPU, settings)) == [5, 5, 5, 5, 4]
    assert bundled([], "auto", CPU, settings) == ()


def test_no_worker_is_left_without_a_bundle(cells, settings):
    assert sizes(bundled(cells[:4], "auto", CPU, settings, jobs=2)) == [2, 2]


def test_long_searches_come_alone_and_the_order_stays(cells, settings):
    recipe = cells[0].recipe.model_copy(update={"epochs": 5000})
    long = [replace(cell, recipe=recipe) for cell in cells[:6]]
    long[1] = replace(long[1], method="imp")
    work = bundled(long, 8, CPU, settings, searching={"imp"})
    assert [[cell.method for cell in bundle] for bundle in work] == [
        [cell.method for cell in long if cell.method != "imp"], ["imp"],
    ]  # fmt: skip
    short = [replace(cell, recipe=cells[0].recipe) for cell in long]
    assert sizes(bundled(short, 8, CPU, settings, searching={"imp"})) == [6]


def test_long_cells_and_short_budgets_make_small_bundles(cells, settings):
    recipe = cells[0].recipe.model_copy(update={"epochs": 100_000})
    long = [replace(cell, recipe=recipe) for cell in cells]
    assert sizes(bundled(long, "auto", CPU, settings)) == [1] * 24
    assert max(sizes(bundled(cells, "auto", CPU, settings, budget=0.1))) < 8


def test_on_a_gpu_the_size_is_measured(cells, settings, monkeypatch):
    monkeypatch.setattr(probe, "fastest_stack", lambda *_: 12)
    assert sizes(bundled(cells, "auto", GPU, settings)) == [12, 12]
    assert bundling.is_stacked("auto", GPU)


@pytest.mark.slow
def test_the_probe_measures_stacks_in_a_process_of_its_own(cells, settings):
    assert probe.fastest_stack(cells[0], settings, CPU) in probe.SIZES
    assert probe.fastest_stack(cells[0], settings, CPU, budget=1e-9) == 1


def test_the_probe_measures_more_and_more_networks(cells, settings):
    measured = dict(probe.measured(cells[0], settings, "cpu"))
    assert tuple(measured) == probe.SIZES
    assert all(seconds > 0 for seconds in measured.values())


def test_after_the_deadline_a_training_stops_with_a_checkpoint(quick, settings, tmp_path):
    cells = tuple(quick(methods=("snip",), densities=(0.5, 0.1), seeds=(1,)))
    for bundle in (Bundle(cells), Bundle(cells[:1])):
        with pytest.raises(OutOfTime):
            fit.fit(bundle, settings, runs=tmp_path, deadline=time.time() - 1)
        assert checkpoint_files.path(tmp_path, bundle).is_file()
        resumed = fit.fit(bundle, settings, runs=tmp_path)
        alone = [fit.fit_cell(cell, settings) for cell in bundle]
        assert [o.curves for o in resumed] == [o.curves for o in alone]
        assert {o.result.environment["resumed"] for o in resumed} == {1}


def test_after_the_deadline_a_training_of_one_batch_an_epoch_stops_too(quick, settings, tmp_path):
    (cell,) = quick(methods=("snip",), densities=(0.5,), seeds=(1,))
    cell = replace(cell, recipe=cell.recipe.model_copy(update={"batch_size": 2000}))
    with pytest.raises(OutOfTime):
        fit.fit(Bundle((cell,)), settings, runs=tmp_path, deadline=0.0)
    outcomes = fit.fit(Bundle((cell,)), settings, runs=tmp_path)
    assert outcomes[0].curves == fit.fit_cell(cell, settings).curves


@pytest.mark.slow
def test_a_budget_keeps_what_is_done_and_the_same_command_goes_on(call, tmp_path):
    # Two slow cores take four times the budget: it must not be enough for fast ones either.
    run = ("run", "quick", "--methods", "snip", "--jobs", "1", "--set", "epochs=100",
           "--seeds", "1,2", "--wandb", "disabled")  # fmt: skip
    code, output, _ = call(*run, "--budget", "4s")
    assert code == 0
    assert "left: the same command goes on" in output
    before = Store(tmp_path / "runs", "quick+epochs=100").ids()
    assert len(before) < 12
    code, output, _ = call(*run)
    assert (code, f"{len(before)} found done" in output) == (0, True)
    assert len(Store(tmp_path / "runs", "quick+epochs=100").ids()) == 12


@pytest.mark.parametrize("text", ["9", "m", "", "1.5h", "-3s"])
def test_a_budget_that_is_no_time_is_one_line(text, call):
    code, _, errors = call("run", "quick", "--budget=" + text)
    assert (code, "not a time as 90s, 9m or 1h30m" in errors) == (2, True)
