"""Iterative magnitude pruning: rounds of training, rewinding, and the loop it trains with."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import pai_bench
from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError, BenchWarning
from pai_bench.core.rng import RandomStreams
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.select import kept_count
from pai_bench.training import fit
from pai_bench.training.loop import train
from pai_bench.training.search_checkpoint import SearchCheckpoint

RECIPE = Recipe(epochs=2, batch_size=16, lr=0.1, momentum=0.9, schedule="step", milestones=(1,))


def network(dropout=0.0):
    with RandomStreams(0).as_global("init"):
        first, last = nn.Linear(6, 12), nn.Linear(12, 3)
    return nn.Sequential(first, nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(dropout), last)


def batches():
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(16, 6, generator=generator), torch.randint(0, 3, (16,), generator=generator))
        for _ in range(5)
    ]


def trained(net, masks, stop=10):
    """Train by hand: PyTorch's own SGD, weights masked after each step."""
    masks.apply(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    step = 0
    for epoch in range(2):
        optimizer.param_groups[0]["lr"] = 0.1 * 0.1**epoch
        for images, labels in batches():
            if step < stop:
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(images), labels).backward()
                optimizer.step()
                masks.apply(net)
                step += 1
    return net


def top(net, count, alive):
    """Keep the `count` largest of the weights that are alive, over all layers."""
    weights = prunable(net)
    flat = torch.cat([(w.detach().abs() * alive[n]).flatten() for n, w in weights])
    kept = torch.zeros(len(flat), dtype=torch.bool)
    kept[flat.argsort(descending=True)[:count]] = True
    parts = kept.split([w.numel() for _, w in weights])
    return Masks({n: part.view_as(w) for (n, w), part in zip(weights, parts, strict=True)})


def test_training_is_that_of_a_plain_loop():
    masks = Masks({n: torch.rand(w.shape) < 0.5 for n, w in prunable(network())})
    ours, plain = network(), trained(network(), masks)
    effort = train(ours, masks, RECIPE, batches())
    for (name, one), two in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-6), name
    assert effort.steps == 10
    assert effort.flops == 6 * 160 * (6 * 12 + 12 * 3)


@pytest.mark.parametrize(("clip", "moved"), [("norm", 0.01), ("value", 0.01 * 147**0.5)])
def test_gradients_are_clipped_in_every_step(clip, moved):
    """147 parameters; the gradient of a scale of batch norm can be anything but 0."""
    recipe = RECIPE.model_copy(update={"steps": 1, "clip": clip, "clip_at": 0.01, "lr": 1.0})
    net = network()
    train(net, Masks.ones(net), recipe, batches())
    before, after = (nn.utils.parameters_to_vector(n.parameters()) for n in (network(), net))
    size = float((after - before).detach().norm())
    assert 0 < size <= moved * (1 + 1e-4)
    assert clip == "value" or size == pytest.approx(moved, rel=1e-3)


def test_training_stops_after_the_steps_of_the_recipe():
    recipe = RECIPE.model_copy(update={"steps": 7})
    seen = []
    assert train(network(), Masks.ones(network()), recipe, batches(), seen.append).steps == 7
    assert seen == list(range(1, 8))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_masks_are_those_of_rounds_done_by_hand(dropout):
    density, total = 0.4, 108
    net = network(dropout)
    alive = Masks.ones(net)
    with RandomStreams(0).as_global("score"):
        for number in (1, 2, 3):
            count = kept_count(total, density ** (number / 3))
            alive = top(trained(network(dropout), alive), count, alive)
    found = pai_bench.prune(net, "imp", density, batches(), rounds=3, recipe=RECIPE)
    assert all(torch.equal(found[name], alive[name]) for name in alive)
    for one, two in zip(net.state_dict().values(), network().state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_rewinding_goes_to_a_step_of_the_first_training():
    net = network()
    with pytest.warns(BenchWarning, match="imp also chose weights to start from"):
        masks = pai_bench.prune(net, "imp", 0.5, batches(), rounds=2, rewind=3, recipe=RECIPE)
    assert all(map(torch.equal, net.parameters(), network().parameters()))
    net.load_state_dict(masks.start, strict=False)
    expected = trained(network(), Masks.ones(net), stop=3)
    for one, two in zip(net.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize(
    ("hyper", "says"),
    [
        ({"rewind": 11}, "rewind is 11 steps, the training has 10"),
        ({"rewind": -1}, "rewind must be at least 0"),
        ({"rounds": 0}, "rounds must be at least 1"),
    ],
)
def test_impossible_values_raise(hyper, says):
    with pytest.raises(BenchError, match=says):
        pai_bench.prune(network(), "imp", 0.5, batches(), recipe=RECIPE, **hyper)


def test_the_functional_api_asks_how_to_train():
    with pytest.raises(BenchError, match="imp trains: give it recipe="):
        pai_bench.prune(network(), "imp", 0.5, batches())


def test_a_cell_of_imp_is_exact_repeatable_and_says_what_its_search_took(quick, settings):
    cell = quick(methods=("imp",), densities=(0.05,), seeds=(1,), epochs=2)[0]
    cell = replace(cell, hyper={"rounds": 2})
    one, two = fit.fit_cell(cell, settings), fit.fit_cell(cell, settings)
    assert one.result.status == "done", one.result.reason
    assert one.curves == two.curves
    assert one.masks.kept == kept_count(50200, 0.05)
    assert one.result.flops.scoring == 2 * 6 * 50200 * 1438 * 2
    assert one.result.seconds["score"] > 0


def test_cells_of_a_seed_share_the_first_round(quick, settings, tmp_path, monkeypatch):
    """After a number of steps that ends within a pass."""
    cells = quick(methods=("imp",), densities=(0.1, 0.05), seeds=(1,), epochs=2)
    recipe = cells[0].recipe.model_copy(update={"steps": 30})
    one, other = (replace(c, hyper={"rounds": 2, "rewind": 4}, recipe=recipe) for c in cells)
    alone = fit.fit_cell(other, settings)
    fit.fit_cell(one, settings, runs=tmp_path)
    steps = []
    update = SearchCheckpoint.update
    monkeypatch.setattr(SearchCheckpoint, "update", lambda self: steps.append(1) or update(self))
    shared = fit.fit_cell(other, settings, runs=tmp_path)
    assert len(steps) == 31
    assert shared.curves == alone.curves
    assert all(torch.equal(shared.masks[name], alone.masks[name]) for name in alone.masks)
    assert shared.result.flops == alone.result.flops
    assert shared.result.seconds["score"] > 0
    assert len(list((tmp_path / "searches").glob("*.pt"))) == 3
