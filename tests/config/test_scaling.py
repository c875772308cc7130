"""Longer and shorter trainings: the same shape, other numbers."""

import pytest

from pai_bench.config.overrides import with_overrides
from pai_bench.config.scaling import scale_schedule
from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.training import fit
from pai_bench.training.schedule import factor


def recipe(**fields):
    known = {"epochs": 10, "batch_size": 50, "lr": 0.1, "schedule": "step", "milestones": (4, 8)}
    return Recipe(**{**known, **fields})


def longer(base, times, images=1000):
    changes = dict(scale_schedule(base, times, images, "here"))
    changes["milestones"] = tuple(changes["milestones"])
    return Recipe(**{**base.model_dump(), **changes})


STARTS = {
    "epochs": recipe(),
    "warm-up": recipe(warmup=1.5),
    "steps": recipe(steps=190, schedule_unit="step", milestones=(60, 130), warmup=30.0),
    "steps, anchors in epochs": recipe(steps=190, warmup=2.0),
    "cosine": recipe(schedule="cosine", milestones=(), warmup=1.0),
}


def rates(chosen, steps):
    """Learning rate over the fraction of the training, 20 steps an epoch."""
    unit = 1 if chosen.schedule_unit == "step" else 20
    return [factor(chosen, step / unit) for step in range(steps)]


@pytest.mark.parametrize("times", [5, 2, 1.5, 0.5, 0.1])
@pytest.mark.parametrize("start", STARTS)
def test_the_learning_rate_keeps_its_shape(start, times):
    base = STARTS[start]
    changed = longer(base, times)
    before, after = (c.images_seen(1000) // 50 for c in (base, changed))
    assert after == round(before * times)
    wanted = rates(base, before + 1)
    found = rates(changed, after)
    for step in range(after):
        at = int(step / times)
        near = wanted[max(0, at - 1) : at + int(1 / times) + 2]
        assert min(near) - 1e-9 <= found[step] <= max(near) + 1e-9


def test_whole_numbers_of_epochs_stay_epochs():
    changed = longer(recipe(warmup=1.0), 5)
    assert changed == recipe(epochs=50, milestones=(20, 40), warmup=5.0)
    tenth = longer(recipe(epochs=200, milestones=(70, 90)), 0.1)
    assert tenth == recipe(epochs=20, milestones=(7, 9))


def test_anchors_in_the_midst_of_an_epoch_are_steps():
    changed = longer(recipe(epochs=200, milestones=(75, 95)), 0.1)
    assert changed == recipe(epochs=20, milestones=(150, 190), schedule_unit="step")


def test_a_part_of_an_epoch_is_steps():
    changed = longer(recipe(epochs=1, milestones=()), 0.33)
    assert (changed.epochs, changed.steps, changed.schedule_unit) == (1, 7, "step")


def test_steps_are_rounded_to_the_nearest():
    assert longer(STARTS["steps"], 1.01).steps == 192
    assert longer(STARTS["steps"], 1.01).milestones == (61, 131)


def cell(settings, methods, name):
    chosen = grid.Selection(methods=("random",), densities=(0.1,), seeds=(1,))
    return grid.cells(with_overrides(settings, name), methods, name, chosen)[0]


def test_length_is_a_change_of_a_suite(settings, methods):
    plain = cell(settings, methods, "quick")
    assert cell(settings, methods, "quick+length=1").id == plain.id
    twice = cell(settings, methods, "quick+length=2")
    assert twice.recipe.epochs == 2 * plain.recipe.epochs
    assert twice.id == cell(settings, methods, "quick+length=2.0").id != plain.id


def test_other_changes_come_first(settings, methods):
    assert cell(settings, methods, "quick+length=2+epochs=3+milestones=[1]").recipe.epochs == 6


def test_a_held_out_part_makes_epochs_shorter(settings, methods):
    """1438 images, half of them held out, 64 a step: 12 steps an epoch; 3 epochs x 0.5."""
    name = "quick+epochs=3+milestones=[2]+validation=0.5+length=0.5"
    changed = cell(settings, methods, name).recipe
    assert (changed.epochs, changed.steps, changed.milestones) == (2, 18, (12,))


def test_a_short_training_ends_in_the_midst_of_an_epoch(settings, methods):
    short = cell(settings, methods, "quick+epochs=1+milestones=[]+length=0.5")
    outcome = fit.fit_cell(short, settings)
    assert outcome.result.status == "done", outcome.result.reason
    assert outcome.result.flops.training == 3 * outcome.result.flops.inference * 12 * 64


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("quick+length=0", "quick+length=0: length must be a number above 0, got 0"),
        ("quick+length=-2", "length must be a number above 0, got -2"),
        ("quick+length=long", "length must be a number above 0, got long"),
        ("quick+length=true", "length must be a number above 0, got True"),
        ("quick+length=.inf", "length must be a number above 0, got inf"),
        ("quick+length=.nan", "length must be a number above 0, got nan"),
        ("quick+length=1e-5", "leaves no step of training"),
        ("quick+lenght=2", 'unknown key of a recipe "lenght"; did you mean "length"?'),
    ],
)
def test_nonsense_is_one_line(settings, name, says):
    with pytest.raises(BenchError) as caught:
        with_overrides(settings, name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
