"""Accuracy at a moment of a training, against the evaluation that the Trainer does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pai_bench.config import loader
from pai_bench.core.errors import BenchError
from pai_bench.data.module import InMemoryData
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import Bundle
from pai_bench.registry import methods as registry
from pai_bench.training.build import build_data, build_module
from pai_bench.training.evaluation import accuracy
from pai_bench.training.fit import fit, fit_cell
from pai_bench.training.outcome import _train_accuracy

ROOT = Path(__file__).parents[2]
METHODS = registry.available()
SETTINGS = loader.load(ROOT / "benchmark.yaml", METHODS)


def cell(method="snip", **options):
    """A cell of `quick`, 23 batches an epoch, with changes of its recipe."""
    cells = grid.cells(SETTINGS, METHODS, "quick")
    found = next(c for c in cells if c.label == method and c.density in (0.1, 1.0))
    recipe = found.recipe.model_copy(update={"epochs": 2, **options})
    return replace(found, recipe=recipe)


def test_accuracy_is_the_share_of_right_answers_and_leaves_the_module_as_it_was():
    one = cell()
    (data,) = build_data(Bundle((one,)), SETTINGS)
    module = build_module(one, SETTINGS, ())
    module.network.train()
    state = torch.get_rng_state()
    measured = accuracy(module, data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), state)
    assert module.network.training
    images, labels = (torch.cat(part) for part in zip(*data.val_dataloader(), strict=True))
    with torch.no_grad():
        assert measured == float((module.network(images).argmax(1) == labels).double().mean())


def test_accuracies_between_epochs_are_those_of_shorter_trainings():
    steps = (1, 23, 30)
    outcome = fit_cell(cell(evaluate_at=steps), SETTINGS)
    assert list(outcome.result.accuracy_after) == ["1", "23", "30"]
    for number in steps:
        shorter = fit_cell(cell(steps=number), SETTINGS)
        expected = shorter.result.accuracy.last
        assert outcome.result.accuracy_after[str(number)] == pytest.approx(expected, abs=1e-6)
    plain = fit_cell(cell(), SETTINGS)
    assert plain.result.accuracy_after == {}
    assert outcome.curves == plain.curves


def test_a_bundle_measures_what_each_network_measures_alone():
    cells = tuple(cell(m, evaluate_at=(5, 40), evaluate_train=0.2) for m in ("snip", "magnitude"))
    for together, one in zip(fit(Bundle(cells), SETTINGS), cells, strict=True):
        alone = fit_cell(one, SETTINGS)
        assert together.result.environment["training"]["mode"] == "in step"
        assert together.result.accuracy_after == alone.result.accuracy_after
        assert together.result.train_accuracy == alone.result.train_accuracy


def test_training_accuracy_is_that_of_the_first_images():
    one = cell(evaluate_train=0.1)
    (data,) = build_data(Bundle((one,)), SETTINGS)
    assert isinstance(data, InMemoryData)
    images, labels = (torch.cat(part) for part in zip(*data.first_batches(0.1), strict=True))
    assert torch.equal(labels, data.images.tensors["train_labels"][:144].long())
    module = build_module(one, SETTINGS, ())
    with torch.no_grad():
        right = (module.network(images).argmax(1) == labels).double().mean()
    assert _train_accuracy(module, data) == float(right)
    assert fit_cell(cell(), SETTINGS).result.train_accuracy is None


def test_training_accuracy_is_of_images_as_they_are():
    with pytest.raises(ValueError, match="evaluate_train needs training images that are not aug"):
        type(cell().recipe).model_validate(
            {"epochs": 1, "batch_size": 1, "lr": 0.1, "evaluate_train": 0.1, "augment": "crop-flip"}
        )
    recipe = cell(evaluate_train=0.1).recipe
    streamed = type("Streamed", (), {"recipe": recipe})()
    with pytest.raises(BenchError, match="evaluate_train: not of images that are decoded"):
        _train_accuracy(None, streamed)
