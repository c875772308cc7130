"""The identity of a cell: what is part of it, what is not, and that it never changes unseen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pai_bench.config import loader
from pai_bench.config.schema import Recipe
from pai_bench.experiment import grid
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.grid import Selection
from pai_bench.registry import methods as registry

METHODS = registry.available()
SETTINGS = loader.load(Path(__file__).parents[2] / "benchmark.yaml", METHODS)

# A stored result is found by these digits. They may change only together with a raised version: of
# the method, of the network, or PROTOCOL in cell.py; or because a recipe or a data set of
# benchmark.yaml itself was changed, which makes new experiments. Anything else is a bug.
PINNED = {
    ("quick", "dense", 1.0, 1): ["14daf02c2f0d"],
    ("quick", "random", 0.1, 3): ["0c762dbaa7e9", "0f2186ae8139", "528d8deb7d5e"],
    ("mnist", "snip", 0.05, 2): ["592317eefd94"],
    ("ntk-sap-cifar10", "ntk-sap", 0.0281474976710656, 3): ["f9b2aaa8f71f"],
}


def listed(suite, method, density, seed, settings=SETTINGS):
    return grid.cells(settings, METHODS, suite, Selection((method,), (density,), (seed,)))


def cell(entry="snip"):
    """Return the cell that quick, with `entry` as its only method, has at density 0.1, seed 1."""
    quick = SETTINGS.suites["quick"].model_copy(update={"methods": (entry,)})
    settings = SETTINGS.model_copy(update={"suites": {"quick": quick}})
    method = next(iter(loader.method_entry(entry)))
    (one,) = listed("quick", method, 0.1, 1, settings)
    return one


@pytest.mark.parametrize("which", PINNED)
def test_the_identity_of_known_cells_is_pinned(which):
    assert [found.id for found in listed(*which)] == PINNED[which]


def test_the_order_of_hyper_parameters_changes_nothing():
    one = cell({"snip": {"rounds": 3, "scope": "local"}})
    other = cell({"snip": {"scope": "local", "rounds": 3}})
    assert list(one.hyper) != list(other.hyper)
    assert one.id == other.id


def test_a_default_hyper_parameter_that_is_spelled_out_changes_nothing():
    assert cell({"snip": {"rounds": 1, "scope": "global"}}).id == cell("snip").id
    assert cell({"ntk-sap": {"rounds": 20, "epsilon": 0.01}}).id == cell("ntk-sap").id


def test_an_integer_for_a_float_hyper_parameter_changes_nothing():
    assert cell({"ntk-sap": {"epsilon": 1}}).id == cell({"ntk-sap": {"epsilon": 1.0}}).id


def test_a_default_of_the_recipe_that_is_spelled_out_changes_nothing():
    recipe = cell().recipe
    spelled = Recipe(**{**recipe.model_dump(), "nesterov": False, "optimizer": "sgd"})
    assert recipe.model_fields_set < spelled.model_fields_set
    assert replace(cell(), recipe=spelled).id == cell().id


def test_a_new_option_of_recipes_changes_nothing_until_it_is_used():
    class Longer(Recipe):
        of_tomorrow: int = 0

    recipe = cell().recipe.model_dump()
    assert replace(cell(), recipe=Longer(**recipe)).id == cell().id
    assert replace(cell(), recipe=Longer(**recipe, of_tomorrow=5)).id != cell().id


CHANGES = {
    "method": {"method": "magnitude"},
    "method version": {"method_version": 2},
    "hyper-parameters": {"hyper": {"rounds": 2}},
    "network": {"network": "resnet-20"},
    "network version": {"network_version": 2},
    "data": {"data": "mnist"},
    "digest": {"digest": "0" * 64},
    "mean": {"mean": (0.02,)},
    "std": {"std": (0.02,)},
    "density": {"density": 0.1000001},
    "seed": {"seed": 2},
    "precision": {"precision": "bf16-mixed"},
    "sanity_check": {"sanity_check": "invert"},
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_experiment_has_another_identity(what):
    assert replace(cell(), **CHANGES[what]).id != cell().id


def test_every_field_but_the_recipe_is_among_the_changes():
    changed = {key for change in CHANGES.values() for key in change}
    assert changed == {*Cell.__dataclass_fields__} - {"recipe"}


RECIPE_CHANGES = {
    "epochs": 21,
    "batch_size": 65,
    "optimizer": "adam",
    "lr": 0.2,
    "momentum": 0.8,
    "nesterov": True,
    "weight_decay": 5e-4,
    "schedule": "cosine",
    "milestones": (10,),
    "steps": 100,
    "decay": "kernels",
    "schedule_unit": "step",
    "gamma": 0.2,
    "warmup": 5.0,
    "clip": "norm",
    "clip_at": 10.0,
    "label_smoothing": 0.1,
    "batch_norm_parts": 2,
    "augment": "crop-flip",
    "crop_scale": (0.1, 1.0),
    "crop_ratio": (0.8, 1.25),
    "normalise": "image",
    "mean": (0.5,),
    "std": (0.5,),
    "collapsed": "skip",
    "holdout": 0.1,
    "evaluate": "validation",
    "evaluate_at": (1, 100),
    "evaluate_train": 0.1,
    "score_images_per_class": 11,
    "score_batch_size": 128,
}


@pytest.mark.parametrize("key", Recipe.model_fields)
def test_every_option_of_the_recipe_is_part_of_the_identity(key):
    recipe = cell().recipe.model_copy(update={key: RECIPE_CHANGES[key]})
    assert replace(cell(), recipe=recipe).id != cell().id


def test_an_identity_is_twelve_hex_digits():
    assert len(cell().id) == 12
    assert int(cell().id, 16) >= 0


@pytest.mark.parametrize("entry", ["snip", {"ntk-sap": {"rounds": 5, "scope": "local"}}])
def test_a_cell_survives_json(entry):
    one = cell(entry)
    back = Cell.from_resolved(json.loads(json.dumps(one.resolved())))
    assert back == one
    assert back.id == one.id
    assert back.resolved() == one.resolved()


def test_a_resolved_cell_spells_out_the_defaults():
    resolved = cell().resolved()
    assert resolved["precision"] == "32-true"
    assert resolved["recipe"]["nesterov"] is False
    assert resolved["recipe"]["score_images_per_class"] == 10


def test_a_cell_made_before_an_option_of_recipes_existed_is_read_with_its_default():
    resolved = cell().resolved()
    del resolved["recipe"]["nesterov"], resolved["precision"]
    assert Cell.from_resolved(resolved).id == cell().id
