"""One cell: same in, same out; what a result holds; failures as results."""

import json
import os
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from pai_bench import Masks, PruneAtInit, networks, prunable
from pai_bench.core.hardware import Hardware
from pai_bench.core.machine import MachineFault
from pai_bench.core.rng import RandomStreams
from pai_bench.data import sources
from pai_bench.experiment.bundle import Bundle
from pai_bench.registry.methods import register
from pai_bench.sparsity.select import kept_count
from pai_bench.store.result import Result
from pai_bench.training import build, fit

PRUNING = (
    "random",
    "magnitude",
    "snip",
    "iterative-snip",
    "force",
    "grasp",
    "synflow",
    "ntk-sap",
    "imp",
)


def same(one, other):
    return (
        one.curves == other.curves
        and one.result.accuracy == other.result.accuracy
        and all(torch.equal(one.masks[name], other.masks[name]) for name in one.masks)
    )


def test_a_cell_does_not_depend_on_what_ran_before(quick, settings):
    """One method here; the conformance suite asks it of each (`cell again`)."""
    cell = quick(methods=("ntk-sap",), densities=(0.05,), seeds=(3,))[0]
    first = fit.fit_cell(cell, settings)
    torch.manual_seed(12345)
    fit.fit_cell(quick(methods=("snip",), densities=(0.2,), seeds=(1,))[0], settings)
    assert first.result.status == "done", first.result.reason
    assert same(first, fit.fit_cell(cell, settings))


def test_seeds_differ(quick, settings):
    one, other = quick(methods=("random",), densities=(0.05,), seeds=(1, 2))[:2]
    assert not same(fit.fit_cell(one, settings), fit.fit_cell(other, settings))


@pytest.fixture(scope="module")
def dense(quick, settings):
    """What the dense network of seed 1 came to."""
    return fit.fit_cell(quick(methods=("dense",), seeds=(1,))[0], settings)


@pytest.mark.parametrize("method", PRUNING)
def test_at_density_one_every_method_is_the_dense_network(method, dense, quick, settings):
    pruned = quick(methods=(method,), densities=(0.5,), seeds=(1,))[0]
    assert same(dense, fit.fit_cell(replace(pruned, density=1.0), settings))


@pytest.mark.parametrize("method", ["snip", "imp"])
@pytest.mark.parametrize("density", [0.5, 0.01])
def test_density_is_exact_and_pruned_weights_stay_zero(method, density, quick, settings):
    cell = quick(methods=(method,), densities=(density,), seeds=(1,))[0]
    module = build.build_module(cell, settings, ())
    before = {name: weight.clone() for name, weight in prunable(module.network)}
    data = build.build_data(Bundle((cell,)), settings)[0]
    build.build_trainer(Bundle((cell,)), fit.Hardware("cpu", "1")).fit(module, datamodule=data)
    assert module.masks.kept == kept_count(module.masks.total, density)
    for name, weight in prunable(module.network):
        kept = module.masks[name]
        assert torch.count_nonzero(weight[~kept]) == 0
        assert kept.sum() == 0 or not torch.equal(weight[kept], before[name][kept])


def test_training_equals_a_plain_loop(quick, settings):
    """The reference: PyTorch alone, weights masked after every step."""
    cell = quick(methods=("random",), densities=(0.1,), seeds=(2,), epochs=2)[0]
    outcome = fit.fit_cell(cell, settings)
    data, rng = settings.data["digits"], RandomStreams(cell.seed)
    with rng.as_global("init"):
        network = networks.build(settings.networks[cell.network], data.shape, 10)
    outcome.masks.apply(network)
    recipe = cell.recipe
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
    )
    arrays = sources.load("digits", data)
    mean, std = data.mean[0], data.std[0]
    for epoch in range(recipe.epochs):
        request = torch.randperm(1438, generator=rng.generator(f"data-order/{epoch}"))
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * recipe.gamma ** (epoch >= 1)
        for index in request.split(recipe.batch_size):
            images = (arrays.train_images[index] / 255 - mean) / std
            optimizer.zero_grad()
            cross_entropy(network(images), arrays.train_labels[index]).backward()
            optimizer.step()
            outcome.masks.apply(network)
    with torch.no_grad():
        logits = network((arrays.test_images / 255 - mean) / std)
    loss = float(cross_entropy(logits, arrays.test_labels))
    accuracy = float((logits.argmax(1) == arrays.test_labels).float().mean())
    assert outcome.curves["test_loss"][-1] == pytest.approx(loss, rel=1e-3)
    assert outcome.result.accuracy.last == pytest.approx(accuracy, abs=0.006)


def test_a_result_holds_all_that_is_promised(quick, settings):
    cell = quick(methods=("snip",), densities=(0.02,), seeds=(1,), epochs=3)[0]
    outcome = fit.fit_cell(cell, settings)
    result = outcome.result
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result
    assert result.density == pytest.approx(0.02, abs=1 / 50200)
    assert 0 < result.effective <= result.density
    assert sum(layer.kept_end for layer in result.layers) == outcome.masks.kept
    assert [layer.name for layer in result.layers] == list(outcome.masks)
    assert result.accuracy.best == max(outcome.curves["test_accuracy"])
    assert {len(curve) for curve in outcome.curves.values()} == {3}
    assert result.flops.inference_dense == 2 * 50200
    assert result.flops.inference == 2 * outcome.masks.kept
    # SNIP: one forward and one backward pass of 100 images; the first layer needs no input gradient
    assert result.flops.scoring == 2 * 100 * (3 * 50200 - 64 * 300)
    assert result.flops.training == pytest.approx(
        3 * result.flops.inference * 1438 * 3 + result.flops.scoring
    )
    assert {"data", "score", "train", "eval", "total"} <= set(result.seconds)
    assert all(seconds >= 0 for seconds in result.seconds.values())
    assert result.memory_mb is None or result.memory_mb > 50
    assert result.environment["packages"]["torch"].startswith(torch.__version__.split("+")[0])


def test_a_network_that_loses_a_layer_is_a_result_with_a_flag(quick, settings):
    cell = quick(methods=("magnitude",), densities=(0.01,), seeds=(1,))[0]
    result = fit.fit_cell(cell, settings).result
    assert result.status == "done"
    assert result.collapsed == ("fc2.weight",)
    assert result.effective == 0


class Broken(PruneAtInit):
    """Does what `how` says."""

    how = staticmethod(lambda module: None)

    def scores(self, network, batches):
        return self.how(network)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda net: 1 / 0, "ZeroDivisionError"),
        (lambda net: exit(), "SystemExit"),
        (lambda net: {n: w.detach() * float("nan") for n, w in prunable(net)}, "fc1.weight"),
        (lambda net: {n: w.detach()[0] for n, w in prunable(net)}, "shape (64,)"),
        (lambda net: {"fc9.weight": torch.ones(3)}, "fc"),
    ],
)
def test_a_method_that_breaks_is_a_failed_result_with_its_reason(
    how, reason, quick, settings, monkeypatch
):
    monkeypatch.setattr(build.registry, "load", lambda *_: register("broken")(Broken))
    monkeypatch.setattr(Broken, "how", staticmethod(how))
    cell = replace(quick(methods=("snip",), densities=(0.1,), seeds=(1,))[0], method="broken")
    result = fit.fit_cell(cell, settings).result
    assert result.status == "failed"
    assert reason in result.reason
    assert "\n" not in result.reason


def test_a_loss_that_is_no_number_fails_the_cell(quick, settings):
    cell = quick(methods=("dense",), seeds=(1,))[0]
    wild = cell.recipe.model_copy(update={"lr": 1e18})
    result = fit.fit_cell(replace(cell, recipe=wild), settings).result
    assert result.status == "failed"
    assert result.reason.startswith("Diverged: the train loss became")


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
@pytest.mark.parametrize("method", ["snip", "ntk-sap"])
def test_other_precisions_train_and_are_other_cells(method, precision, quick, settings):
    cell = quick(methods=(method,), densities=(0.2,), seeds=(1,), epochs=3)[0]
    other = replace(cell, precision=precision)
    result = fit.fit_cell(other, settings, fit.Hardware("cpu", "1")).result
    assert result.status == "done", result.reason
    assert result.accuracy.last > 0.5
    assert other.id != cell.id


def test_inputs_that_a_method_does_not_need_are_restricted(quick, settings):
    cell = quick(methods=("ntk-sap",), densities=(0.1,), seeds=(1,))[0]
    module = build.build_module(cell, settings, ())
    (data,) = build.build_data(Bundle((cell,)), settings)
    images, labels = module.restrict_inputs(data.score_batches())[0]
    assert labels is None
    assert images.shape == (100, 1, 8, 8)
    assert torch.count_nonzero(images) == 0


def test_masks_travel_in_checkpoints(quick, settings):
    cell = quick(methods=("random",), densities=(0.1,), seeds=(1,))[0]
    one, other = (build.build_module(cell, settings, ()) for _ in range(2))
    one.set_masks(one.sparsify([]))
    checkpoint = {}
    one.on_save_checkpoint(checkpoint)
    other.on_load_checkpoint(checkpoint)
    assert all(torch.equal(one.masks[name], other.masks[name]) for name in one.masks)
    assert set(one.network.state_dict()) == {
        f"fc{i}.{p}" for i in (1, 2, 3) for p in ("weight", "bias")
    }
    assert isinstance(other.masks, Masks)


def changed(cell, **recipe):
    return replace(cell, recipe=cell.recipe.model_copy(update=recipe))


def test_steps_may_end_in_the_midst_of_an_epoch(quick, settings):
    """23 steps an epoch on digits: 30 steps are one epoch and 7 steps, evaluated after both."""
    cell = quick(methods=("dense",), seeds=(1,), epochs=2)[0]
    short = fit.fit_cell(changed(cell, steps=30), settings)
    whole = fit.fit_cell(cell, settings)
    assert short.result.status == "done", short.result.reason
    assert [len(curve) for curve in short.curves.values()] == [2, 2, 2]
    assert short.curves["test_loss"][0] == whole.curves["test_loss"][0]
    assert short.curves["test_loss"][1] != whole.curves["test_loss"][1]
    assert short.result.flops.training == 3 * 2 * 50200 * (1438 + 7 * 64)
    assert changed(cell, steps=30).recipe.images_seen(1438) == 1438 + 7 * 64


def test_steps_that_end_with_an_epoch_are_evaluated_once(quick, settings):
    cell = quick(methods=("dense",), seeds=(1,), epochs=2)[0]
    assert (
        fit.fit_cell(changed(cell, steps=46), settings).curves
        == fit.fit_cell(cell, settings).curves
    )
    assert len(fit.fit_cell(changed(cell, steps=23), settings).curves["test_loss"]) == 1


def test_a_warm_up_starts_slowly(quick, settings):
    cell = quick(methods=("dense",), seeds=(1,), epochs=1)[0]
    warm = fit.fit_cell(changed(cell, warmup=1.0), settings).curves["train_loss"][0]
    assert warm > fit.fit_cell(cell, settings).curves["train_loss"][0]


def test_labels_are_smoothed_in_training_only(quick, settings):
    cell = quick(methods=("dense",), seeds=(1,), epochs=2)[0]
    smooth, plain = (
        fit.fit_cell(changed(cell, label_smoothing=0.5), settings),
        fit.fit_cell(cell, settings),
    )
    assert smooth.curves["train_loss"][-1] > plain.curves["train_loss"][-1] + 0.5
    assert smooth.result.accuracy.last > 0.8


def test_tuning_never_looks_at_the_test_images(quick, settings, monkeypatch):
    cell = quick(methods=("snip",), densities=(0.1,), seeds=(1,), epochs=1)[0]
    tuning = changed(cell, holdout=0.2, evaluate="validation")
    before, tested = (fit.fit_cell(one, settings).curves for one in (tuning, cell))
    arrays = sources.load("digits", settings.data["digits"])
    spoilt = replace(arrays, test_images=torch.zeros_like(arrays.test_images))
    monkeypatch.setattr(sources, "load", lambda *_: spoilt)
    digits = settings.data["digits"].model_copy(update={"digest": spoilt.digest})
    other = settings.model_copy(update={"data": {**settings.data, "digits": digits}})
    assert fit.fit_cell(tuning, other).curves == before
    assert fit.fit_cell(cell, other).curves != tested


def test_a_result_says_what_data_it_was_made_on(quick, settings):
    cell = quick(methods=("dense",), seeds=(1,), epochs=1)[0]
    found = fit.fit_cell(cell, settings).result.environment["data"]
    assert found == {"digest": settings.data["digits"].digest, "source": "scikit-learn"}


@register("empties-a-layer")
class EmptiesALayer(PruneAtInit):
    """Keep nothing of the second layer."""

    def scores(self, network, batches):
        return {n: torch.zeros_like(w) if "fc2" in n else w.abs() for n, w in prunable(network)}


@pytest.mark.parametrize("rule", ["train", "skip"])
def test_a_collapsed_network_is_trained_or_skipped_and_counts_either_way(
    quick, settings, rule, monkeypatch
):
    cell = quick(methods=("random",), densities=(0.02,), seeds=(1,), epochs=2)[0]
    monkeypatch.setattr(build.registry, "load", lambda *_: EmptiesALayer)
    outcome = fit.fit_cell(changed(cell, collapsed=rule), settings)
    result = outcome.result
    assert "fc2.weight" in result.collapsed
    assert result.constant_scores == ("fc2.weight",)
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result
    assert 0 < result.accuracy.last < 0.3
    assert result.density == pytest.approx(0.02, abs=1e-4)
    if rule == "train":
        assert (result.status, len(outcome.curves["test_accuracy"])) == ("done", 2)
    else:
        assert result.status == "skipped"
        assert result.reason.startswith("collapsed, and so not trained: nothing is kept of fc2")
        assert {name: len(curve) for name, curve in outcome.curves.items()} == {
            "test_accuracy": 1,
            "test_loss": 1,
        }
        assert result.flops.training == result.flops.scoring


@pytest.mark.parametrize(
    ("method", "hyper"), [("dense", {}), ("snip", {}), ("ntk-sap", {"rounds": 2, "repeats": 1})]
)
def test_photographs_train_like_any_other_data(method, hyper, photographs, quick):
    recipe = {"batch_size": 4, "epochs": 2, "augment": "resized-crop-flip", "score_batch_size": 3}
    cell = quick(methods=(method,), densities=(0.1,), seeds=(1,))[0]
    cell = changed(replace(cell, network="resnet-20", data="photos", hyper=hyper), **recipe)
    one = fit.fit_cell(cell, photographs)
    assert one.result.status == "done", one.result.traceback
    assert method != "snip" or fit.fit_cell(cell, photographs).curves == one.curves
    assert one.result.environment["data"]["images"] == [13, 5]
    assert one.result.environment["data"]["skipped"] == 0
    assert one.result.flops.training >= 2 * 13 * 3 * one.result.flops.inference


def test_a_part_of_the_photographs_is_not_trained_on(photographs, quick):
    cell = quick(methods=("dense",), seeds=(1,))[0]
    data = photographs.data["photos"].model_copy(update={"images": (14, 5)})
    settings = photographs.model_copy(update={"data": {**photographs.data, "photos": data}})
    result = fit.fit_cell(replace(cell, network="resnet-20", data="photos"), settings).result
    assert result.status == "failed"
    assert "13 training and 5 test photographs, benchmark.yaml says [14, 5]" in result.reason


def test_a_resumed_training_keeps_its_masks_and_ends_as_if_never_stopped(quick, settings, tmp_path):
    """Epoch 1 of 3, a checkpoint, and the rest: weights, masks and curves bit by bit."""
    cell = quick(methods=("snip",), densities=(0.05,), seeds=(1,), epochs=3)[0]

    def parts(epochs):
        module = build.build_module(cell, settings, ())
        (data,) = build.build_data(Bundle((cell,)), settings)
        trainer = build.build_trainer(
            Bundle((changed(cell, epochs=epochs),)), fit.Hardware("cpu", "1")
        )
        return module, data, trainer

    whole, data, trainer = parts(3)
    trainer.fit(whole, datamodule=data)
    first, data, trainer = parts(1)
    trainer.fit(first, datamodule=data)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    rest, data, trainer = parts(3)
    loader = data.train_dataloader()
    loader.epoch = 1
    data.train_dataloader = lambda: loader
    trainer.fit(rest, datamodule=data, ckpt_path=tmp_path / "one.ckpt", weights_only=False)
    assert all(torch.equal(whole.masks[n], rest.masks[n]) for n in whole.masks)
    assert rest.initial_nonzero == whole.initial_nonzero
    for one, two in zip(whole.parameters(), rest.parameters(), strict=True):
        assert torch.equal(one, two)
    assert rest.learning_curves.points["test_loss"] == whole.learning_curves.points["test_loss"]


@pytest.mark.parametrize(
    ("method", "hyper", "first", "last"),
    [
        ("synflow", {"rounds": 3}, "round 1 of 3", "round 3 of 3"),
        ("iterative-snip", {"rounds": 2}, "round 1 of 2", "round 2 of 2, pass 2, batch 2 of 2"),
        ("snip", {}, "pass 1, batch 1 of 2", "pass 1, batch 2 of 2"),
        ("imp", {"rounds": 2}, "round 1 of 2, pass 1, batch 1 of 23",
         "round 2 of 2, pass 4, batch 23 of 23"),
    ],
)  # fmt: skip
def test_how_far_the_choice_of_masks_is_can_be_followed(
    method, hyper, first, last, quick, settings, monkeypatch
):
    monkeypatch.setattr(PruneAtInit, "progress_interval", 0.0)
    cell = quick(methods=("random",), densities=(0.1,), seeds=(1,))[0]
    recipe = cell.recipe.model_copy(update={"score_images_per_class": 10, "score_batch_size": 50})
    told = []
    cell = replace(cell, method=method, hyper=hyper, recipe=recipe)
    assert fit.fit_cell(cell, settings, on_progress=told.append).result.status == "done"
    said = [progress.message for progress in told if progress.message]
    assert (said[0], said[-1]) == (first, last)
    assert [progress.epoch for progress in told if not progress.message] == [0, 1, 2]


def test_progress_events_are_limited_to_what_can_be_read(quick, settings):
    cell = quick(methods=("random",), densities=(0.1,), seeds=(1,))[0]
    told = []
    fit.fit_cell(replace(cell, method="synflow"), settings, on_progress=told.append)
    said = [progress.message for progress in told if progress.message]
    assert said[0] == "round 1 of 100"
    assert len(said) < 10


def test_lightning_gives_no_advice_about_slurm(tmp_path, quick, settings, monkeypatch, recwarn):
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (cell,) = quick(methods=("dense",), seeds=(1,), epochs=1)
    assert fit.fit_cell(cell, settings, Hardware("cpu", "1")).result.status == "done"
    assert not [warning for warning in recwarn if "srun" in str(warning.message)]


def test_other_data_than_what_is_pinned_are_no_failure_of_a_method(quick, settings):
    (cell,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    data = settings.data["digits"].model_copy(update={"digest": "0" * 64})
    other = settings.model_copy(update={"data": {**settings.data, "digits": data}})
    with pytest.raises(MachineFault, match="not trained on"):
        fit.fit_cell(cell, other)
