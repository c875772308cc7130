"""Dense networks trained by DessiLBI: what is measured of them, against a plain loop."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from pai_bench.core.errors import BenchError
from pai_bench.experiment.bundle import Bundle
from pai_bench.reproductions.dessilbi import toolbox
from pai_bench.reproductions.dessilbi.optimizer import DessiLBI
from pai_bench.training import checkpoint
from pai_bench.training.build import build_data, build_module
from pai_bench.training.checkpoint import OutOfTime
from pai_bench.training.fit import fit, fit_cell

HYPER = {"nu": 2.0, "lam": 0.02, "fc_lam": 0.02, "split": "fc1,fc2", "prune": "fc1,fc2"}
EPOCHS = 3


@pytest.fixture(scope="module")
def cell(quick):
    """A short training of LeNet-300-100 on digits."""
    (dense,) = quick(methods=("dense",), seeds=(1,))
    recipe = dense.recipe.model_copy(update={"epochs": EPOCHS, "milestones": (2,)})
    return replace(dense, method="dessilbi-dense", hyper=HYPER, recipe=recipe)


@pytest.fixture(scope="module")
def outcome(cell, settings):
    """What the harness stores of it."""
    return fit_cell(cell, settings)


@pytest.fixture(scope="module")
def by_hand(cell, settings):
    """The same training as a plain loop: network, optimizer, epochs of entry, test images."""
    (data,) = build_data(Bundle((cell,)), settings)
    network = build_module(cell, settings, ()).network
    split = ["fc1.weight", "fc2.weight"]
    options = {"nu": 2.0, "lam": 0.02, "fc_lam": 0.02}
    named = network.named_parameters()
    optimizer = DessiLBI(named, cell.recipe.lr, split=split, momentum=0.9, **options)
    entered = {name: torch.full_like(network.get_parameter(name), toolbox.NEVER) for name in split}
    loader = data.train_dataloader()
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = cell.recipe.lr * (0.1 if epoch >= 2 else 1.0)
        for images, labels in loader:
            optimizer.zero_grad()
            cross_entropy(network(images), labels).backward()
            optimizer.step()
        for name, mask in optimizer.support().items():
            entered[name][mask & (entered[name] == toolbox.NEVER)] = epoch
    return network, optimizer, entered, list(data.val_dataloader())


def share_of_right(network, batches):
    with torch.no_grad():
        right = [(network(images).argmax(1) == labels).float() for images, labels in batches]
    return float(torch.cat(right).mean())


def test_it_is_the_training_of_a_plain_loop(outcome, by_hand):
    network, optimizer, _, batches = by_hand
    measured = outcome.result.measured["accuracy"]
    assert measured["weights"] == pytest.approx(share_of_right(network, batches))
    assert measured["weights"] == pytest.approx(outcome.result.accuracy.last)
    optimizer.project()
    assert measured["projected"] == pytest.approx(share_of_right(network, batches))
    optimizer.restore()
    weights = {n: network.get_parameter(n) for n in ("fc1.weight", "fc2.weight")}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    with torch.no_grad():
        for weight in weights.values():
            weight.copy_(optimizer.state[weight]["gamma"])
    assert measured["sparse-copy"] == pytest.approx(share_of_right(network, batches))
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(before[name])


def test_support_and_entries_are_counted_by_layer_and_epoch(outcome, by_hand):
    _, optimizer, entered, _ = by_hand
    measured, support = outcome.result.measured, optimizer.support()
    counts = {name.removesuffix(".weight"): int(mask.sum()) for name, mask in support.items()}
    assert measured["support"] == {**counts, "total": sum(counts.values())}
    assert 0 < counts["fc1"] < support["fc1.weight"].numel()
    for name, epochs in entered.items():
        keys = {"never": toolbox.NEVER, **{str(epoch): epoch for epoch in range(EPOCHS)}}
        counts = {key: int((epochs == epoch).sum()) for key, epoch in keys.items()}
        found = measured["entered"][name.removesuffix(".weight")]
        assert found == {key: count for key, count in counts.items() if count}


def test_pruning_by_order_leaves_what_scores_above_the_percentile(outcome, by_hand):
    network, _, entered, batches = by_hand
    pruned = outcome.result.measured["pruned"]
    weights = {n: network.get_parameter(n).detach().clone() for n in entered}
    for names in (["fc1"], ["fc1", "fc2"]):
        for percent in (50, 90):
            left = []
            for name in names:
                key = f"{name}.weight"
                order = weights[key].abs() - entered[key]
                kept = order > torch.quantile(order.double(), percent / 100).float()
                left.append(int(kept.sum()))
                with torch.no_grad():
                    network.get_parameter(key).copy_(weights[key] * kept)
            accuracy = share_of_right(network, batches)
            assert pruned["+".join(names)][str(percent)] == pytest.approx([accuracy, *left])
            with torch.no_grad():
                for name, weight in weights.items():
                    network.get_parameter(name).copy_(weight)


def test_without_a_gamma_it_is_sgd(cell, settings):
    plain = replace(cell, hyper={"split": "none"})
    sgd = replace(cell, method="dense", hyper={})
    recipe = cell.recipe.model_copy(update={"weight_decay": 0.0})
    one, other = (fit_cell(replace(each, recipe=recipe), settings) for each in (plain, sgd))
    for name, curve in other.curves.items():
        assert one.curves[name] == pytest.approx(curve, abs=1e-6)
    assert one.result.measured["support"] == {"total": 0}
    assert one.result.measured["pruned"] == {}
    assert one.result.measured["large"]["fc1"] > 10_000


def test_an_interrupted_training_measures_the_same(cell, settings, outcome, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.TrainingCheckpoint, "every", 0.0)
    epochs = []

    def stop_after_two(progress):
        epochs.append(progress.epoch)
        if progress.epoch == 2 and len(epochs) < 5:
            raise KeyboardInterrupt

    bundle = Bundle((cell,))
    with pytest.raises((KeyboardInterrupt, OutOfTime)):
        fit(bundle, settings, on_progress=stop_after_two, runs=tmp_path)
    (resumed,) = fit(bundle, settings, runs=tmp_path)
    assert resumed.result.environment["resumed"] == 1
    assert resumed.result.measured == outcome.result.measured


@pytest.mark.parametrize(
    ("hyper", "says"),
    [
        ({"split": "fc9"}, "unknown layer"),
        ({"prune": "conv"}, "unknown layer"),
        ({"split": "fc1", "prune": "fc2"}, "only fc1 have a Gamma"),
    ],
)
def test_layers_that_are_not_there_are_refused(hyper, says, cell, settings):
    with pytest.raises(BenchError, match=says):
        build_module(replace(cell, hyper=hyper), settings, ())
