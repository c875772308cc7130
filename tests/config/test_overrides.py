"""A changed suite is a suite of its own: another folder, other cells, the same rules."""

import sys

import pytest

from pai_bench.config.overrides import with_launcher_options, with_overrides
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid


def cells(settings, methods, name):
    selection = grid.Selection(methods=("snip",), densities=(0.1,), seeds=(1,))
    (cell,) = grid.cells(with_overrides(settings, name), methods, name, selection)
    return cell


def test_a_plain_name_changes_nothing(settings):
    assert with_overrides(settings, "quick") is settings


def test_changes_are_in_the_cell_and_nothing_else_is(settings, methods):
    plain = cells(settings, methods, "quick")
    changed = cells(settings, methods, "quick+epochs=3+lr=1e-2+milestones=[2]")
    assert (changed.recipe.epochs, changed.recipe.lr, changed.recipe.milestones) == (3, 0.01, (2,))
    same = {"batch_size", "momentum", "weight_decay", "schedule", "augment"}
    assert all(getattr(changed.recipe, key) == getattr(plain.recipe, key) for key in same)
    assert changed.id != plain.id


def test_what_changes_nothing_is_the_same_cell(settings, methods):
    assert cells(settings, methods, "quick+epochs=20").id == cells(settings, methods, "quick").id


def test_another_network_of_the_settings(settings, methods):
    cell = cells(settings, methods, "mnist+network=lenet-5")
    assert cell.network == "lenet-5"
    assert cell.recipe == settings.recipes["mnist-20"]


def test_validation_is_short_for_two_keys(settings, methods):
    short = cells(settings, methods, "quick+validation=0.2")
    assert short.id == cells(settings, methods, "quick+holdout=0.2+evaluate=validation").id
    assert (short.recipe.holdout, short.recipe.evaluate) == (0.2, "validation")


def test_the_other_suites_stay_as_they_were(settings):
    changed = with_overrides(settings, "quick+epochs=3")
    assert changed.suites["quick"] == settings.suites["quick"]
    assert "Changed: epochs=3" in changed.suites["quick+epochs=3"].about
    assert "quick+epochs=3" not in settings.suites


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("quik+epochs=3", 'unknown suite "quik"; did you mean "quick"?'),
        ("quick+", "write changes as +KEY=VALUE"),
        ("quick+epochs", "write changes as +KEY=VALUE"),
        ("quick+epoch=3", 'unknown key of a recipe "epoch"; did you mean "epochs"?'),
        ("quick+epochs=0", "quick+epochs=0: epochs: input should be greater than 0"),
        ("quick+epochs=many", "epochs: input should be a valid integer"),
        ("quick+schedule=steps", "schedule: input should be"),
        ("quick+evaluate=validation", "evaluate: validation needs a holdout above 0"),
        ("quick+network=lenet", 'unknown network "lenet"'),
        ("quick+network=no.such:build", "network no.such:build: no module no.such here"),
    ],
)
def test_impossible_values_are_one_line(settings, name, says):
    with pytest.raises(BenchError) as caught:
        with_overrides(settings, name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def own_network(tmp_path, monkeypatch):
    """A module `mynets` in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mynets", raising=False)
    path = tmp_path / "mynets.py"
    path.write_text("def build(shape, classes): ...\n")
    return path


def test_a_network_of_ones_own_is_known_by_its_file(settings, methods, own_network):
    cell = cells(settings, methods, "quick+network=mynets:build")
    assert cell.network == "mynets:build"
    assert cells(settings, methods, "quick+network=mynets:build").id == cell.id
    own_network.write_text("def build(shape, classes): return None\n")
    assert cells(settings, methods, "quick+network=mynets:build").id != cell.id


def test_options_of_a_launcher_are_changed_and_nothing_else_is(settings):
    asked = ("partition=gpu", "minutes=5", "setup=[module load cuda]", "options={constraint: a}")
    changed = with_launcher_options(settings, "slurm", asked)
    slurm = changed.launchers.slurm
    assert (slurm.partition, slurm.minutes, slurm.gpus) == ("gpu", 5, 0)
    assert (slurm.setup, slurm.options) == (("module load cuda",), {"constraint": "a"})
    assert changed.launchers.ray == settings.launchers.ray
    assert with_launcher_options(settings, "local", ()) is settings


@pytest.mark.parametrize(
    ("launcher", "option", "said"),
    [
        ("local", "gpus=1", "launcher local: it has no options; slurm and ray have some"),
        ("model_dump", "gpus=1", "launcher model_dump: it has no options"),
        ("slurm", "partitoin=x", 'unknown option "partitoin"; did you mean "partition"'),
        ("slurm", "minutes", "launcher slurm: minutes: input should be a valid integer"),
        ("slurm", "minutes=soon", "launcher slurm: minutes: input should be a valid integer"),
        ("slurm", "gpus=-1", "launcher slurm: gpus: input should be greater than or equal to 0"),
        ("slurm", 'setup=["a\\nb"]', "launcher slurm: setup.0: string should match"),
        ("slurm", "partition=a b", "launcher slurm: partition: string should match"),
        ("slurm", "options={'a b': c}", "launcher slurm: options"),
        ("slurm", "setup=[", "launcher slurm: setup: cannot be read"),
        ("ray", "minutes=1", 'launcher ray: unknown option "minutes"'),
    ],
)
def test_a_wrong_option_of_a_launcher_is_one_line(settings, launcher, option, said):
    with pytest.raises(BenchError) as raised:
        with_launcher_options(settings, launcher, [option])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
