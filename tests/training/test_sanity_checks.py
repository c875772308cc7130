"""Sanity checks take away what they say, and nothing else."""

from dataclasses import replace

import pytest
import torch

from pai_bench import Masks, prunable
from pai_bench.config.schema import CORRUPTING, SANITY_CHECKS
from pai_bench.core.rng import RandomStreams
from pai_bench.experiment.bundle import Bundle
from pai_bench.sparsity.select import kept_count
from pai_bench.training import build, fit
from pai_bench.training.restricted_batches import afresh
from pai_bench.training.sanity_checks import Corrupted, shuffled

PRUNING = ("random", "magnitude", "snip", "iterative-snip", "force", "grasp", "synflow", "ntk-sap")
FEW = {name: {"rounds": 3} for name in ("iterative-snip", "force", "synflow", "ntk-sap")}
"""Rounds, where a method has more: enough to show what a check does."""


def run(quick, settings, method, sanity_check, density=0.05, epochs=1):
    cell = quick(methods=(method,), densities=(density,), seeds=(2,), epochs=epochs)[0]
    cell = replace(cell, sanity_check=sanity_check, hyper=FEW.get(method, {}))
    return fit.fit_cell(cell, settings)


@pytest.mark.parametrize("sanity_check", SANITY_CHECKS)
@pytest.mark.parametrize("method", ["snip", "ntk-sap"])
def test_every_check_keeps_the_asked_number_of_weights(quick, settings, method, sanity_check):
    outcome = run(quick, settings, method, sanity_check)
    assert outcome.result.status == "done", outcome.result.reason
    assert outcome.masks.kept == kept_count(outcome.masks.total, 0.05)
    assert outcome.curves == run(quick, settings, method, sanity_check).curves


@pytest.mark.parametrize("method", PRUNING)
def test_a_shuffle_keeps_the_densities_by_layer_and_moves_the_mask(quick, settings, method):
    """The field's standard code has a shuffle that does nothing."""
    plain, moved = (run(quick, settings, method, a).masks for a in ("", "layerwise-shuffle"))
    assert moved.kept_by_layer() == plain.kept_by_layer()
    for name, mask in plain.items():
        if 0 < int(mask.sum()) < mask.numel():
            assert not torch.equal(moved[name], mask)


def test_a_shuffle_has_no_preference_for_a_place():
    mask = torch.zeros(10, 10, dtype=torch.bool)
    mask[0] = True
    hits = sum(shuffled(Masks({"w": mask}), RandomStreams(seed))["w"].int() for seed in range(2000))
    assert hits.sum() == 20000
    assert (hits - 200).abs().max() < 6 * (2000 * 0.1 * 0.9) ** 0.5


def test_reinitialising_keeps_the_mask_and_changes_the_start(quick, settings):
    plain, other = (run(quick, settings, "snip", a) for a in ("", "reinitialise"))
    assert all(torch.equal(plain.masks[n], other.masks[n]) for n in plain.masks)
    assert plain.curves != other.curves


def test_other_weights_come_from_the_same_distribution(quick, settings):
    cell = quick(methods=("snip",), densities=(0.05,), seeds=(2,))[0]
    module = build.build_module(cell, settings, ())
    other = module.context.other_start()
    for (name, one), (_, two) in zip(prunable(module.network), prunable(other), strict=True):
        assert not torch.equal(one, two), name
        assert two.std().item() == pytest.approx(one.std().item(), rel=0.1)


def test_inverting_one_round_keeps_the_lowest_scores(quick, settings):
    kept, inverted = (run(quick, settings, "magnitude", a, 0.5).masks for a in ("", "invert"))
    both = sum(int((kept[n] & inverted[n]).sum()) for n in kept)
    assert both == 0
    assert kept.kept + inverted.kept == kept.total


@pytest.mark.parametrize("method", ["iterative-snip", "synflow", "ntk-sap", "force"])
def test_inverting_many_rounds_revives_nothing(quick, settings, method, monkeypatch):
    from pai_bench import PruneAtInit

    rounds = []
    keep = PruneAtInit.keep

    def watched(self, scores):
        before, after = self.masks, keep(self, scores)
        rounds.append(all(not (after[n] & ~before[n]).any() for n in after))
        return after

    monkeypatch.setattr(PruneAtInit, "keep", watched)
    assert run(quick, settings, method, "invert").result.status == "done"
    assert len(rounds) > 1
    assert all(rounds)


def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.rand(50, 1, 4, 4, generator=generator), torch.zeros(50, dtype=torch.long)),
        (torch.rand(30, 1, 4, 4, generator=generator), torch.ones(30, dtype=torch.long)),
    ]


def corrupted(what, seed=1):
    return Corrupted(batches(), what, 10, RandomStreams(seed))


def test_random_labels_leave_the_images():
    for (images, labels), (same, other) in zip(batches(), corrupted("random-labels"), strict=True):
        assert torch.equal(images, same)
        assert len(other.unique()) > 5
        assert labels.shape == other.shape


@pytest.mark.parametrize("method", ["rigl", "set", "gradual", "random-filters", "small-dense"])
def test_where_no_scores_are_ranked_there_is_nothing_to_invert(method, quick, settings):
    outcome = run(quick, settings, method, "invert")
    assert (outcome.result.status, outcome.masks) == ("failed", None)
    reason = f"{method} ranks no scores before training: nothing to invert"
    assert outcome.result.reason.endswith(reason)


@pytest.mark.parametrize("what", CORRUPTING)
def test_batches_that_are_drawn_again_are_corrupted_too(what, settings, quick):
    cell = quick(methods=("snip",), densities=(0.05,), seeds=(2,))[0]
    (data,) = build.build_data(Bundle((cell,)), settings)
    plain = data.score_batches()
    first = Corrupted(plain, what, 10, RandomStreams(1))
    second = afresh(first, 2)
    other = list(zip(plain.afresh(2), second, strict=True))
    if what == "random-labels":
        assert all(torch.equal(images, same) for (images, _), (same, _) in other)
        assert not all(torch.equal(labels, random) for (_, labels), (_, random) in other)
    else:
        assert all(torch.equal(labels, same) for (_, labels), (_, same) in other)
        assert not any(torch.equal(images, moved) for (images, _), (moved, _) in other)
    assert not any(torch.equal(one, two) for (one, _), (two, _) in zip(first, second, strict=True))


def test_random_pixels_are_those_of_each_image_in_another_order():
    for (images, labels), (moved, same) in zip(batches(), corrupted("random-pixels"), strict=True):
        assert torch.equal(labels, same)
        assert not torch.equal(images, moved)
        assert torch.equal(images.flatten(1).sort(1).values, moved.flatten(1).sort(1).values)
        places = (images.flatten(1)[:, :1] == moved.flatten(1)).long().argmax(1)
        assert len(places.unique()) > 5


@pytest.mark.parametrize("what", ["random-labels", "random-pixels"])
def test_corruption_depends_on_the_seed_and_the_number_of_the_batch(what):
    one, again, other = corrupted(what), corrupted(what), corrupted(what, seed=2)
    for number in range(2):
        assert all(torch.equal(a, b) for a, b in zip(one[number], again[number], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(list(one)[1], one[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one[0], other[0], strict=True))


def test_methods_without_data_do_not_notice_corrupted_data(quick, settings):
    plain = run(quick, settings, "synflow", "")
    for what in ("random-labels", "random-pixels"):
        assert run(quick, settings, "synflow", what).curves == plain.curves
