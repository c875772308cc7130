"""Cells of text: a small GRU learns, its recurrent weights stay masked, loss counts in bits."""

import inspect
import math
import pydoc
import textwrap
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from torch.nn.functional import cross_entropy

from pai_bench.config.schema import Data, Network, Recipe
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell, data_fields
from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.page import row_data
from pai_bench.leaderboard.terminal import print_board
from pai_bench.sparsity.masks import prunable
from pai_bench.sparsity.select import kept_count
from pai_bench.store.result import Result
from pai_bench.store.store import Store
from pai_bench.training import build, fit

BUILDER = """
from pai_bench.networks.gru import CharacterModel, Widths

def small(shape, classes):
    return CharacterModel(classes, tied=True, widths=Widths(24, 48, 32))
"""
RECIPE = Recipe(
    epochs=1, batch_size=32, optimizer="adam", lr=1e-2, weight_decay=1e-4, clip="norm", clip_at=1.0
)
TEXT = Data(hub="nobody/code", text="text", classes=256, shape=(1, 1, 24), images=(2500, 200))


@pytest.fixture
def language(settings, tmp_path, monkeypatch):
    """Python's own documentation tool for a text, and a small GRU: (cell, settings)."""
    monkeypatch.setenv("PAI_BENCH_MIRROR", str(tmp_path))
    (tmp_path / "code").mkdir()
    for split, module in (("train", pydoc), ("test", textwrap)):
        rows = inspect.getsource(module).splitlines(keepends=True)
        path = tmp_path / "code" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.table({"text": rows}), path)
    (tmp_path / "small.py").write_text(BUILDER)
    network = Network(build=f"{tmp_path / 'small.py'}:small")
    changed = settings.model_copy(
        update={
            "data": {**settings.data, "code": TEXT},
            "networks": {**settings.networks, "small": network},
        }
    )
    cell = Cell("dense", "small", "code", RECIPE, 1.0, 1, **data_fields(TEXT))
    return cell, changed


def unigram_entropy(text):
    counts = Counter(text.encode()[1:])
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values())


@pytest.mark.parametrize(("method", "density"), [("dense", 1.0), ("random", 0.25)])
def test_a_short_training_beats_the_frequencies_of_the_evaluated_text(language, method, density):
    cell, settings = language
    hyper = {"scope": "local"} if method == "random" else {}
    outcome = fit.fit_cell(replace(cell, method=method, density=density, hyper=hyper), settings)
    assert outcome.result.status == "done", outcome.result.reason
    text = inspect.getsource(textwrap)[: 200 * 24 + 1]
    assert 2 < outcome.result.bits_per_step < unigram_entropy(text)
    assert outcome.result.bits_per_step == outcome.curves["test_loss"][-1] / math.log(2)
    assert 0.2 < outcome.result.accuracy.last < 0.9
    assert Result.from_json(outcome.result.to_json()) == outcome.result


def trained(cell, settings, steps):
    """The module of a cell after some steps, the network before them, and its data."""
    cell = replace(cell, recipe=cell.recipe.model_copy(update={"steps": steps}))
    module = build.build_module(cell, settings, ())
    (data,) = build.build_data(Bundle((cell,)), settings)
    build.build_trainer(Bundle((cell,)), fit.Hardware("cpu", "1")).fit(module, datamodule=data)
    (fresh,) = build.build_data(Bundle((cell,)), settings)
    return module, build.build_module(cell, settings, ()).network, fresh


@pytest.mark.parametrize("method", ["random", "magnitude", "snip", "grasp", "synflow"])
def test_masks_of_recurrent_weights_are_exact_and_stay(language, method):
    cell, settings = language
    chosen = replace(cell, method=method, density=0.25, hyper={"scope": "local"})
    chosen = replace(chosen, recipe=RECIPE.model_copy(update={"score_images_per_class": 1}))
    module, start, _ = trained(chosen, settings, 3)
    before = dict(prunable(start))
    assert "gru.recurrent.weight" in before
    for name, weight in prunable(module.network):
        mask = module.masks[name]
        assert int(mask.sum()) == kept_count(mask.numel(), 0.25)
        assert torch.count_nonzero(weight[~mask]) == 0
        assert not torch.equal(weight[mask], before[name][mask])
    assert torch.count_nonzero(module.network.embedding.weight == 0) == 0


MOVING = {
    "rigl": {"delta_t": 2, "alpha": 0.1, "end": 1.0},
    "set": {"delta_t": 2, "alpha": 0.1, "end": 1.0},
    "snfs": {"delta_t": 2, "alpha": 0.1, "end": 1.0},
    "gradual": {"frequency": 2},
}


@pytest.mark.parametrize("method", MOVING)
def test_recurrent_connections_move_and_their_number_is_exact(language, method):
    """As many weights are kept of each matrix as was asked for, at places that training chose."""
    cell, settings = language
    hyper = {"scope": "local", **MOVING[method]}
    module, _, _ = trained(replace(cell, method=method, density=0.25, hyper=hyper), settings, 8)
    static = replace(cell, method="random", density=0.25, hyper={"scope": "local"})
    start, _, _ = trained(static, settings, 1)
    for name, weight in prunable(module.network):
        mask = module.masks[name]
        assert int(mask.sum()) == kept_count(mask.numel(), 0.25)
        assert torch.count_nonzero(weight[~mask]) == 0
    moved = module.masks["gru.recurrent.weight"] & ~start.masks["gru.recurrent.weight"]
    assert moved.any()


def test_the_suite_has_the_papers_numbers(settings, methods):
    cells = grid.cells(settings, methods, "rigl-wikitext")
    assert {cell.method for cell in cells} == {"dense", "random", *MOVING}
    assert {cell.density for cell in cells if cell.method != "dense"} == {0.25}
    recipe = cells[0].recipe
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("adam", 7e-4, 5e-4)
    assert (recipe.batch_size, recipe.steps, recipe.clip_at) == (32, 200_000, 10)
    hyper = {cell.method: cell.hyper for cell in cells}
    assert all(hyper[name] == hyper["rigl"] for name in ("set", "snfs"))
    assert hyper["rigl"] == {"scope": "local", "alpha": 0.1, "end": 1.0}
    assert hyper["gradual"].get("frequency") == 1000


@pytest.mark.parametrize(("clip", "at"), [("norm", 0.05), ("value", 0.001), ("none", None)])
def test_training_equals_a_plain_loop_that_clips_what_is_kept(language, clip, at):
    cell, settings = language
    recipe = RECIPE.model_copy(update={"clip": clip, "clip_at": at, "optimizer": "sgd"})
    cell = replace(cell, method="random", density=0.25, recipe=recipe)
    module, network, data = trained(cell, settings, 3)
    module.masks.apply(network)
    optimizer = torch.optim.SGD(network.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    batches = iter(data.train_dataloader())
    for _ in range(3):
        symbols, labels = next(batches)
        optimizer.zero_grad()
        logits = network(symbols).transpose(1, 2)
        cross_entropy(logits.reshape(-1, 256), labels.reshape(-1)).backward()
        for name, weight in prunable(network):
            weight.grad *= module.masks[name]
        if clip == "norm":
            torch.nn.utils.clip_grad_norm_(network.parameters(), at)
        elif clip == "value":
            torch.nn.utils.clip_grad_value_(network.parameters(), at)
        optimizer.step()
    ours, plain = module.network.state_dict(), network.state_dict()
    assert all(torch.allclose(ours[name], plain[name], atol=1e-7) for name in plain)


def test_training_flops_are_counted_over_the_sequence(language):
    cell, settings = language
    recipe = RECIPE.model_copy(update={"epochs": 1, "steps": 2})
    outcome = fit.fit_cell(replace(cell, recipe=recipe), settings)
    gates, readout = 3 * 48 * (24 + 48), 48 * 32 + 32 * 24
    each = 2 * 24 * (gates + readout + 24 * 256)
    assert outcome.result.flops.inference == each
    assert outcome.result.flops.training == 3 * each * 2 * 32


@pytest.mark.parametrize("sanity_check", ["random-labels", "random-pixels", "layerwise-shuffle"])
def test_sanity_checks_take_sequences(language, sanity_check):
    cell, settings = language
    recipe = RECIPE.model_copy(update={"steps": 1, "score_images_per_class": 1})
    cell = replace(cell, method="snip", density=0.5, recipe=recipe)
    plain, checked = (
        fit.fit_cell(c, settings) for c in (cell, replace(cell, sanity_check=sanity_check))
    )
    assert checked.result.status == "done", checked.result.reason
    name = "gru.recurrent.weight"
    assert not torch.equal(plain.masks[name], checked.masks[name])


def printed(found):
    console = Console(record=True, width=160)
    print_board(console, found, "title")
    return console.export_text()


def test_the_leaderboard_shows_bits_for_text_alone(language, quick, tmp_path):
    cell, of_text = language
    recipe = RECIPE.model_copy(update={"epochs": 1, "steps": 2})
    cells = [replace(cell, recipe=recipe, seed=seed) for seed in (1, 2)]
    store = Store(tmp_path / "runs", "code")
    for one in cells:
        outcome = fit.fit_cell(one, of_text)
        store.put(one, outcome.result, outcome.curves, outcome.masks)
    found = board(store, "code", cells, [])
    mean = sum(e.result.bits_per_step for e in store.entries()) / 2
    assert row_data(found.rows[0], False)["bits"]["mean"] == pytest.approx(mean)
    assert f"{mean:.3f} ±" in printed(found)
    of_images = board(store, "quick", quick(seeds=(1,)), [])
    assert row_data(of_images.rows[0], False)["bits"] is None
    assert "bits per step" not in printed(of_images)
