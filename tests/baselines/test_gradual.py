"""Gradual pruning: how much is pruned when, and what becomes of it."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from pai_bench.baselines.gradual import Gradual
from pai_bench.core.errors import BenchError
from pai_bench.experiment.bundle import Bundle
from pai_bench.sparsity.masks import prunable
from pai_bench.sparsity.select import kept_count, topk_masks
from pai_bench.training import build, fit

STEPS = 3 * 23


@pytest.fixture
def trained(quick, settings):
    def run(density=0.1, shrink=1.0, lr=None, **hyper):
        cell = quick(methods=("random",), densities=(density,), seeds=(1,), epochs=3)[0]
        recipe = cell.recipe.model_copy(update={"lr": lr or cell.recipe.lr})
        cell = replace(cell, method="gradual", hyper=hyper, recipe=recipe)
        plain = build.build_module(cell, settings, ())
        module = Noted(plain.network, plain.context, **hyper)
        module.shrink, module.pruned, module.ranked, module.momentum = shrink, {}, {}, {}
        trainer = build.build_trainer(Bundle((cell,)), fit.Hardware("cpu", "1"))
        trainer.fit(module, datamodule=build.build_data(Bundle((cell,)), settings)[0])
        return module

    return run


class Noted(Gradual):
    """Notes masks, weights and momentum after each pruning, and what was ranked, by step.

    `shrink` is what the kept weights of the first layer are then multiplied with.
    """

    def change_masks(self, masks):
        step, weights = self.trainer.global_step + 1, dict(prunable(self.network))
        self.ranked[step] = {name: w.detach().clone() for name, w in weights.items()}
        super().change_masks(masks)
        slots = self.optimizers(use_pl_optimizer=False).state
        self.pruned[step] = self.masks, {n: w.detach().clone() for n, w in weights.items()}
        self.momentum[step] = {n: slots[w]["momentum_buffer"].clone() for n, w in weights.items()}
        next(iter(weights.values())).data.mul_(self.shrink)


@pytest.mark.parametrize("scope", ["global", "local", "erk"])
def test_sparsity_grows_by_the_cubic_schedule_and_ends_as_asked(scope, trained):
    module = trained(begin=0.2, end=0.7, frequency=10, scope=scope)
    begin, end = round(0.2 * STEPS), round(0.7 * STEPS)
    assert list(module.pruned) == [*range(begin + 10, end, 10), end]
    before = None
    for step, (masks, weights) in module.pruned.items():
        sparsity = 0.9 * (1 - (1 - (step - begin) / (end - begin)) ** 3)
        assert masks.density() == pytest.approx(1 - sparsity, abs=3 / masks.total)
        for name, mask in masks.items():
            assert not weights[name][~mask].any()
            assert before is None or not (mask & ~before[name]).any()
            if scope == "local":
                assert mask.float().mean() == pytest.approx(1 - sparsity, abs=2 / mask.numel())
        before = masks
    assert abs(module.masks.kept - kept_count(module.masks.total, 0.1)) <= len(module.masks)
    assert module.masks is before
    assert module.initial_nonzero == {name: mask.numel() for name, mask in module.masks.items()}


def test_each_layer_goes_its_own_way_to_its_own_density():
    scores = {"a": torch.rand(100, 100), "b": torch.rand(10, 100)}
    final = topk_masks(scores, 0.1, scope="erk").kept_by_layer()
    half = topk_masks(scores, 0.1, scope="erk", progress=0.5).kept_by_layer()
    for name, score in scores.items():
        gone = score.numel() - final[name]
        assert score.numel() - half[name] == pytest.approx(gone / 2, abs=1)


def test_flops_are_those_of_the_masks_of_the_time(trained):
    module = trained(begin=0.2, end=0.7, frequency=10)
    counts = {sum(kept): images for kept, (images, _) in module.training_cost.segments.items()}
    assert len(counts) == 1 + len(module.pruned)
    assert counts[module.masks.total] == 1438 + 64  # an epoch, and one of the steps up to 24
    assert sum(counts.values()) == 3 * 1438


@pytest.mark.parametrize("density", [0.5, 0.1, 0.02])
def test_the_histogram_rule_is_a_threshold_at_the_edge_of_a_bin(density):
    scores = torch.randn(5000, generator=torch.Generator().manual_seed(0)).abs()
    edges = [float(scores.max()) * number / 256 for number in range(257)]
    below = [int((scores < edge).sum()) for edge in edges]
    to_go = next(n for n in range(256) if below[n + 1] >= (1 - density) * 5000)
    found = topk_masks({"w": scores}, density, rule="histogram")["w"]
    assert torch.equal(found, scores > edges[to_go])
    fullest = float(torch.histc(scores, 256).max())
    assert int(found.sum()) == pytest.approx(5000 * density, abs=fullest)


def test_histograms_keep_about_as_many(trained):
    masks = trained(selection="histogram", frequency=10).masks
    assert masks.density() == pytest.approx(0.1, rel=0.2)
    assert masks.kept != kept_count(masks.total, 0.1)


def test_remembered_weights_may_return_as_they_were(trained):
    """After each pruning the kept weights are made tiny: those that it took are larger."""
    module = trained(begin=0.2, end=0.7, frequency=10, pruned="remembered", shrink=1e-6)
    (name, _), returned = prunable(module.network)[0], 0
    for before, step in pairwise(module.pruned):
        masks, weights = module.pruned[step]
        back = masks[name] & ~module.pruned[before][0][name]
        returned += int(back.sum())
        assert torch.equal(weights[name][back], module.ranked[before][name][back])
        assert not module.momentum[step][name][back].any()
    assert returned


def test_zeroed_weights_never_return(trained):
    """Not even where those that were kept are 0 as well, and stay so: steps are too small."""
    module = trained(begin=0.2, end=0.7, frequency=10, shrink=0.0, lr=1e-60)
    masks = [masks for masks, _ in module.pruned.values()]
    assert len(masks) > 2
    for before, after in pairwise(masks):
        assert not any((after[name] & ~before[name]).any() for name in after)


@pytest.mark.parametrize(
    "hyper", [{"begin": 0.5, "end": 0.5}, {"end": 1.2}, {"begin": -0.1}, {"frequency": 0}]
)
def test_values_that_cannot_be_are_refused_by_name(hyper):
    with pytest.raises(BenchError, match=next(iter(hyper))):
        Gradual.Hyper(**hyper)
