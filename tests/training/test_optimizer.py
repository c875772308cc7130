"""Optimizer and schedule of a recipe, against PyTorch's own schedulers and by hand."""

import math

import pytest
import torch
from torch import nn

from pai_bench.config.schema import Recipe
from pai_bench.training.optimizer import build_optimizer, build_schedule
from pai_bench.training.schedule import factor, learning_rates


def recipe(**changes):
    return Recipe(**{"epochs": 160, "batch_size": 128, "lr": 0.1, **changes})


def network():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    net[0].prunable = False
    return net


def rates(one, steps, per_epoch=1):
    chosen = build_optimizer(network(), one)
    scheduler = build_schedule(chosen, one, per_epoch)["scheduler"]
    found = []
    for _ in range(steps):
        found.append(chosen.param_groups[0]["lr"])
        chosen.step()
        scheduler.step()
    return found


def reference(build, steps):
    chosen = torch.optim.SGD(network().parameters(), 0.1)
    scheduler = build(chosen)
    found = []
    for _ in range(steps):
        found.append(chosen.param_groups[0]["lr"])
        chosen.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("gamma", [0.1, 0.2])
def test_steps_are_exactly_those_of_multi_step_lr(gamma):
    one = recipe(schedule="step", milestones=(80, 120), gamma=gamma)
    schedulers = torch.optim.lr_scheduler
    expected = reference(lambda o: schedulers.MultiStepLR(o, [80, 120], gamma), 160)
    assert rates(one, 160) == expected


def test_a_cosine_is_that_of_cosine_annealing():
    schedulers = torch.optim.lr_scheduler
    expected = reference(lambda o: schedulers.CosineAnnealingLR(o, 160), 160)
    assert rates(recipe(schedule="cosine"), 160) == pytest.approx(expected, abs=1e-12)


def test_a_warm_up_grows_from_zero_step_by_step_and_ends_at_the_rate():
    one = recipe(schedule="step", milestones=(30,), warmup=5)
    found = rates(one, 320, per_epoch=10)
    assert found[:51] == pytest.approx([0.1 * step / 50 for step in range(51)])
    assert found[50:300] == [0.1] * 250
    assert found[300] == pytest.approx(0.01)


def test_milestones_may_be_steps():
    one = recipe(schedule="step", schedule_unit="step", milestones=(3, 5), gamma=0.5, steps=7)
    assert rates(one, 7, per_epoch=1000) == [0.1] * 3 + [0.05] * 2 + [0.025] * 2


def test_a_cosine_in_steps_ends_with_the_steps():
    one = recipe(schedule="cosine", schedule_unit="step", steps=10, warmup=2)
    found = rates(one, 11)
    assert found[2] == 0.1
    assert found[6] == pytest.approx(0.05)
    assert found[10] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "unit"),
    [({}, "epoch"), ({"warmup": 1}, "step"), ({"schedule_unit": "step"}, "step")],
)
def test_the_schedule_moves_in_the_unit_it_needs(changes, unit):
    one = recipe(**changes)
    assert build_schedule(build_optimizer(network(), one), one, 1)["interval"] == unit


DECAYING = {
    "all": ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"],
    "kernels": ["0.weight", "3.weight"],
    "prunable": ["3.weight"],
}


@pytest.mark.parametrize("rule", DECAYING)
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_only_what_the_recipe_names_decays(rule, kind):
    net = network()
    chosen = build_optimizer(
        net, recipe(decay=rule, weight_decay=0.5, optimizer=kind, momentum=0.9)
    )
    decays = {
        id(p): group["weight_decay"] for group in chosen.param_groups for p in group["params"]
    }
    found = [name for name, p in net.named_parameters() if decays[id(p)]]
    assert found == DECAYING[rule]
    assert len(decays) == 6
    assert set(decays.values()) <= {0.0, 0.5}


def test_adam_with_decay_is_coupled():
    """NTT's loss has the squared weights in it: their gradient goes through Adam's moments."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 2.0)
    chosen = build_optimizer(net, recipe(optimizer="adam", weight_decay=0.5, decay="kernels"))
    net.weight.grad = torch.zeros(1, 1)
    chosen.step()
    assert net.weight.item() == pytest.approx(2.0 - 0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "step", "milestones": (2, 4)},
        {"schedule": "cosine", "warmup": 1.5},
        {"schedule": "cosine", "schedule_unit": "step", "warmup": 4, "steps": 17},
        {"steps": 16},
    ],
)
def test_rates_of_epochs_are_those_of_their_last_steps(changes):
    one, per_epoch = recipe(**{"epochs": 6, **changes}), 3
    taken = one.training_steps(300)
    schedule = build_schedule(build_optimizer(network(), one), one, per_epoch)
    stepped = rates(one, 18, per_epoch)
    last = [min(3 * epoch + 2, taken - 1) for epoch in range(-(-taken // 3))]
    by_hand = [stepped[step if schedule["interval"] == "step" else step // 3] for step in last]
    assert learning_rates(one, 300) == pytest.approx(by_hand)


def test_factors_are_finite_to_the_end_of_every_schedule():
    for kind in ("constant", "step", "cosine"):
        one = recipe(schedule=kind, warmup=3)
        assert all(math.isfinite(factor(one, t / 2)) for t in range(330))
        all_warmup = one.model_copy(update={"warmup": float(one.epochs)})
        assert all(math.isfinite(factor(all_warmup, t / 2)) for t in range(330))
