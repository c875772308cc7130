"""Stored cells trained again: which, and what is said of those that come out otherwise."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from pai_bench.config.overrides import with_overrides
from pai_bench.core import portable
from pai_bench.core.hardware import Hardware
from pai_bench.experiment import grid
from pai_bench.launch.rerun import chosen, rerun
from pai_bench.store.result import Result
from pai_bench.store.store import Store
from pai_bench.training import fit

CPU = {"device": "cpu", "portable": True}


def test_of_every_method_the_cheapest_comes_first(tmp_path, quick, settings):
    store = Store(tmp_path, "quick")
    cells = quick(methods=("snip", "random", "dense"), densities=(0.1,), seeds=(1, 2))
    for cell in cells:
        store.put(cell, Result("done", environment=CPU))
    slow = replace(cells[0], recipe=cells[0].recipe.model_copy(update={"epochs": 9}))
    store.put(slow, Result("done", environment=CPU))
    on_gpu = replace(cells[0], seed=3)
    store.put(on_gpu, Result("done", environment={"device": "NVIDIA H100"}))
    store.put(replace(cells[0], seed=4), Result("failed", "x", environment=CPU))
    store.put(replace(cells[0], seed=5, network="nobody's"), Result("done", environment=CPU))
    entries = store.entries()
    names = {cell.method for cell in cells}
    assert {entry.cell.method for entry in chosen(entries, settings, len(names))} == names
    every = [entry.cell for entry in chosen(entries, settings, 100)]
    assert [cell for cell in every if cell.method == slow.method][-1] == slow
    assert {cell.id for cell in every} == {cell.id for cell in (*cells, slow)}


@pytest.mark.parametrize("supported", [False, True])
def test_bits_that_were_never_to_be_the_same_are_not_asked_for(
    tmp_path, quick, settings, monkeypatch, supported
):
    monkeypatch.setattr(portable, "is_supported", lambda: supported)
    cells = quick(methods=("dense",), densities=(1.0,), seeds=(1, 2))
    store = Store(tmp_path, "quick")
    for cell, is_portable in zip(cells, (True, False), strict=True):
        store.put(cell, Result("done", environment={**CPU, "portable": is_portable}))
    seeds = {entry.cell.seed for entry in chosen(store.entries(), settings, 9)}
    assert seeds == ({1} if supported else {1, 2})


@pytest.fixture
def stored(tmp_path, settings, methods):
    """A cell that was trained, and its store."""
    suite = "quick+epochs=2"
    known = with_overrides(settings, suite)
    (cell,) = grid.cells(known, methods, suite, grid.Selection(("snip",), (0.1,), (1,)))[-1:]
    outcome = fit.fit_cell(cell, known, Hardware("cpu", "1"))
    store = Store(tmp_path, suite)
    store.put(cell, outcome.result, outcome.curves, outcome.masks)
    return cell, outcome, store


def again(store, settings):
    (found,) = rerun(store.entries(), settings, (), Console(file=io.StringIO()), 1)
    return found.differences


def test_a_cell_comes_out_the_same_and_other_bits_are_named(stored, settings):
    cell, outcome, store = stored
    assert again(store, settings) == ()
    curves = {name: [*points] for name, points in outcome.curves.items()}
    curves["test_loss"][1] += 1e-9
    masks = type(outcome.masks)({name: ~mask for name, mask in outcome.masks.items()})
    store.put(cell, outcome.result, curves, masks)
    loss, of_masks = again(store, settings)
    assert loss.startswith("test_loss from epoch 2 on (")
    assert of_masks.startswith("masks (density 0.1")
