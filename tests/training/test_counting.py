"""FLOPs that are counted are those of a training."""

from dataclasses import replace

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.store.store import Store
from pai_bench.training import fit
from pai_bench.training.counting import counted
from pai_bench.training.length import TrainingLength

COUNTED = [
    ("dense", {}), ("random", {"scope": "erk"}), ("magnitude", {}), ("synflow", {"rounds": 3}),
    ("ntk-sap", {"rounds": 3}),
    ("small-dense", {}), ("random-filters", {}), ("set", {"delta_t": 3}),
    *(("rigl", {"delta_t": 3, "update": update}) for update in ("extra", "skip", "after")),
    ("rigl", {"delta_t": 2, "scope": "local", "end": 0.5}),
    *(("snfs", {"delta_t": 3, "update": update}) for update in ("extra", "skip", "after")),
    ("gradual", {"frequency": 3}), ("gradual", {"scope": "erk", "begin": 0.0, "end": 0.4}),
]  # fmt: skip


@pytest.fixture
def cell(quick):
    """One that ends within an epoch, whose last batch is smaller than the others."""
    (snip,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    return replace(snip, recipe=snip.recipe.model_copy(update={"steps": 40}))


@pytest.mark.parametrize(("method", "hyper"), COUNTED, ids=str)
def test_what_is_counted_is_what_a_training_counts(method, hyper, cell, settings):
    density = 1.0 if method == "dense" else cell.density
    cell = replace(cell, method=method, hyper=hyper, density=density)
    result, trained = counted(cell, settings), fit.fit_cell(cell, settings).result
    assert trained.status == "done"
    assert result.flops == trained.flops
    assert result.sparse_bytes == trained.sparse_bytes > 0
    assert (result.status, result.accuracy, result.density) == ("counted", None, trained.density)
    assert result.hyper == trained.hyper


@pytest.mark.parametrize(("method", "reason"), [
    ("snip", "chooses its masks by data"), ("imp", "trains to choose its masks"),
    ("snfs redistribute", "moves density between layers"),
    ("gradual global", "as many weights in a layer as its values say"),
    ("ntt", "trains to choose"),
])  # fmt: skip
def test_what_depends_on_data_or_training_cannot_be_counted(method, reason, cell, settings):
    name, _, option = method.partition(" ")
    hyper = {"redistribute": {"redistribute": True}, "global": {"scope": "global"}}.get(option, {})
    with pytest.raises(BenchError, match=reason):
        counted(replace(cell, method=name, hyper=hyper), settings)


def test_images_that_are_held_out_are_not_counted_without_them(cell, settings):
    recipe = cell.recipe.model_copy(update={"holdout": 0.5})
    with pytest.raises(BenchError, match="depends on the data"):
        counted(replace(cell, method="magnitude", recipe=recipe), settings)


def test_batches_of_all_epochs_are_as_large_as_they_are():
    length = TrainingLength(7, 10, 4)
    assert [length.batch(number) for number in range(7)] == [4, 4, 2, 4, 4, 2, 4]


def test_a_training_replaces_what_was_counted(call, tmp_path):
    choice = ("quick", "--methods", "magnitude,snip", "--densities", "0.1", "--seeds", "1",
              "--set", "epochs=1")  # fmt: skip
    code, output, _ = call("account", *choice)
    assert code == 0
    assert "magnitude" in output
    assert "1 cells: snip chooses its masks by data" in output
    store = Store(tmp_path / "runs", "quick+epochs=1")
    (entry,) = store.entries()
    assert (entry.result.status, store.status(entry.cell)) == ("counted", None)
    assert store.verify(entry.cell.id) == []
    code, output, _ = call("run", *choice, "--wandb", "disabled", "--jobs", "1")
    assert (code, "2 run" in output) == (0, True)
    assert {entry.result.status for entry in store.entries()} == {"done"}
    code, output, _ = call("account", *choice)
    assert {entry.result.status for entry in store.entries()} == {"done"}
