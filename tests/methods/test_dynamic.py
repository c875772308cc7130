"""Masks that move in training: what an update may change, what it may not, and resuming."""

from dataclasses import replace
from itertools import pairwise

import pytest
import pytorch_lightning as pl
import torch
from torch.nn.functional import cross_entropy

from pai_bench.baselines.set import SET
from pai_bench.baselines.snfs import SNFS
from pai_bench.core.errors import BenchError
from pai_bench.experiment.bundle import Bundle
from pai_bench.reproductions.rigl.method import RigL
from pai_bench.sparsity.account import macs_by_layer
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.training import build, fit

CPU = fit.Hardware("cpu", "1")
STEPS = 23
"""Steps of an epoch of the quick suite."""
DYNAMIC = {"rigl": RigL, "set": SET, "snfs": SNFS}
WAYS = [
    ("rigl", "extra"), ("rigl", "skip"), ("rigl", "after"), ("set", "extra"), ("set", "skip"),
    ("set", "after"), ("snfs", "skip"), ("snfs", "after"),
]  # fmt: skip


@pytest.fixture
def cell(quick):
    def make(method, epochs=2, density=0.1, decay=0.1, **hyper):
        found = quick(methods=("random",), densities=(0.1,), seeds=(1,), epochs=epochs)[0]
        recipe = found.recipe.model_copy(update={"weight_decay": decay, "nesterov": True})
        return replace(found, method=method, density=density, recipe=recipe, hyper=hyper)

    return make


def train(cell, settings, module=None, epochs=None, **options):
    module = module or build.build_module(cell, settings, ())
    recipe = cell.recipe.model_copy(update={"epochs": epochs or cell.recipe.epochs})
    trainer = build.build_trainer(Bundle((replace(cell, recipe=recipe),)), CPU)
    trainer.callbacks += options.pop("callbacks", [])
    with module.context.rng.as_global("training"):
        trainer.fit(module, datamodule=build.build_data(Bundle((cell,)), settings)[0], **options)
    return module, trainer


def state_of(module):
    """Copies of masks, weights and each slot of the optimizer, by name."""
    slots = module.optimizers(use_pl_optimizer=False).state
    found = {f"mask {name}": mask.clone() for name, mask in module.masks.items()}
    for name, parameter in module.network.named_parameters():
        found[name] = parameter.detach().clone()
        for key, slot in slots.get(parameter, {}).items():
            found[f"{key} of {name}"] = torch.as_tensor(slot).clone()
    return found


def watched(cls):
    """The method, noting its state before and after every update, and the gradients it saw."""

    class Watched(cls):
        def update_masks(self, step, gradients):
            before = state_of(self)
            super().update_masks(step, gradients)
            self.updates.append((step, before, state_of(self), dict(gradients)))

    return Watched


def watch(cell, settings, cls):
    plain = build.build_module(cell, settings, ())
    module = watched(cls)(plain.network, plain.context, **cell.hyper)
    module.updates = []
    return train(cell, settings, module)


@pytest.mark.parametrize(("method", "update"), WAYS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_update_touches_only_what_it_drops_and_grows(method, update, optimizer, cell, settings):
    asked = cell(method, delta_t=5, update=update, end=1.0)
    recipe = asked.recipe.model_copy(update={"optimizer": optimizer, "lr": 0.01})
    module, trainer = watch(replace(asked, recipe=recipe), settings, DYNAMIC[method])
    first = int(update == "after")
    assert [step for step, *_ in module.updates] == list(range(first, 2 * STEPS + first, 5))
    assert trainer.global_step == 2 * STEPS
    for _, before, after, _ in module.updates:
        assert before.keys() == after.keys()
        for name, _ in prunable(module.network):
            old, new = before[f"mask {name}"], after[f"mask {name}"]
            assert old.sum() == new.sum()
            stay = old & new
            for key in before:
                if key == name or (key.endswith(f" of {name}") and before[key].shape == old.shape):
                    assert torch.equal(before[key][stay], after[key][stay]), key
                    assert not after[key][~stay].any(), key
        untouched = [k for k in before if "bias" in k or k.startswith("step")]
        assert all(torch.equal(before[key], after[key]) for key in untouched)
    _, before, after, _ = module.updates[3]
    assert any(not torch.equal(before[f"mask {n}"], after[f"mask {n}"]) for n in module.masks)


@pytest.mark.parametrize("update", ["extra", "skip", "after"])
def test_growth_looks_at_the_gradient_of_the_loss_alone(update, cell, settings):
    """It is dense, and holds no L2, though the recipe's is strong."""
    asked = cell("rigl", delta_t=10, update=update, decay=0.5)
    plain = build.build_module(asked, settings, ())
    seen = []

    class Seen(watched(RigL)):
        def batch_loss(self, batch):
            before = {n: p.detach().clone() for n, p in self.network.named_parameters()}
            seen.append((before, batch))
            return super().batch_loss(batch)

        def update_masks(self, step, gradients):
            seen.append(gradients)
            super().update_masks(step, gradients)

    module = Seen(plain.network, plain.context, **asked.hyper)
    module.updates = []
    train(asked, settings, module)
    found = 0
    for met, gradients in pairwise(seen):
        if not isinstance(gradients, dict):
            continue
        state, (images, labels) = met
        found += 1
        leaves = {name: tensor.requires_grad_() for name, tensor in state.items()}
        loss = cross_entropy(torch.func.functional_call(module.network, leaves, (images,)), labels)
        loss.backward()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, leaves[name].grad, rtol=1e-4, atol=1e-6)
            assert gradient[~module.masks[name]].any()
    assert found == len(module.updates) == 4


def test_a_network_computes_the_same_after_growth_alone(cell, settings):
    module, _ = train(cell("rigl", epochs=1), settings)
    images = torch.randn(5, 1, 8, 8)
    before = module(images)
    module.change_masks(Masks.ones(module.network))
    assert torch.equal(module(images), before)
    assert module.masks.density() == 1


def test_skipped_steps_are_lost_and_extra_ones_are_not(cell, settings):
    """Without decay or momentum, in one step: skipped, only the drop moves a weight."""
    one = cell("rigl", epochs=1, delta_t=1, end=1.0, alpha=0.001)
    recipe = one.recipe.model_copy(update={"steps": 1})
    for update, moved in (("skip", False), ("extra", True)):
        asked = replace(one, recipe=recipe, hyper={**one.hyper, "update": update})
        start = {n: w.clone() for n, w in prunable(build.build_module(asked, settings, ()).network)}
        module, _ = train(asked, settings)
        mask, name = module.masks["fc3.weight"], "fc3.weight"
        found = dict(prunable(module.network))[name]
        assert torch.equal(found[mask], start[name][mask]) != moved


@pytest.mark.parametrize("method", ["rigl", "set", "snfs", "gradual"])
def test_at_density_one_the_network_is_dense(method, cell, settings):
    asked = cell(method, density=1.0)
    dense = replace(asked, method="dense", hyper={})
    assert fit.fit_cell(asked, settings).curves == fit.fit_cell(dense, settings).curves


def test_chance_outside_the_method_is_left_alone(cell, settings):
    """An extra batch shifts neither the order of the others nor what dropout draws."""
    states = []
    for method in ("rigl", "random"):
        module = build.build_module(cell(method, epochs=1), settings, ())
        torch.manual_seed(0)
        with module.context.rng.as_global("training"):
            data = build.build_data(Bundle((cell(method),)), settings)[0]
            trainer = build.build_trainer(Bundle((cell(method, epochs=1),)), CPU)
            trainer.fit(module, datamodule=data)
            states.append(torch.get_rng_state())
    assert torch.equal(*states)


class StopAt(pl.Callback):
    """Saves a checkpoint after so many steps, then stops the Trainer."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


RESUMED = [
    *((method, {"update": update, "delta_t": 7}, 17) for method, update in WAYS),
    *((method, {"update": "after", "delta_t": 7}, 29) for method in ("set", "snfs")),
    ("gradual", {"frequency": 7, "pruned": "remembered"}, 17),
    ("gradual", {"frequency": 7}, 25),
]


@pytest.mark.parametrize(("method", "hyper", "step"), RESUMED, ids=str)
def test_a_resumed_training_ends_bit_by_bit_as_if_never_stopped(
    method, hyper, step, cell, settings, tmp_path
):
    """In the midst of an epoch, and between updates or (29 is 4 times 7 and 1) right after one."""
    asked = cell(method, **hyper)
    whole, _ = train(asked, settings)
    path = tmp_path / "stopped.ckpt"
    stopped, trainer = train(asked, settings, callbacks=[StopAt(step, path)])
    assert trainer.global_step == step
    other = replace(asked, seed=2)
    module = build.build_module(other, settings, ())
    resumed = type(module)(module.network, stopped.context, **asked.hyper)
    train(asked, settings, resumed, ckpt_path=path, weights_only=False)
    one, two = state_of(whole), state_of(resumed)
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.equal(value, two[key]), key
    assert whole.training_cost.segments == resumed.training_cost.segments
    assert whole.learning_curves.points["test_loss"] == resumed.learning_curves.points["test_loss"]


def test_the_cost_of_dense_gradients_is_counted(cell, settings):
    """RigL: 5 extra batches of 64; SNFS: a dense gradient in each step."""
    for method, images, dense in (
        ("rigl", 2 * 1438 + 5 * 64, 5 * 64),
        ("snfs", 2 * 1438, 2 * 1438),
    ):
        module, _ = train(cell(method, delta_t=7), settings)
        macs = macs_by_layer(module.network, (1, 8, 8))
        ((found, found_dense),) = module.training_cost.segments.values()
        assert (found, found_dense) == (images, dense)
        sparse, whole = 2 * module.masks.kept, 2 * sum(macs.values())
        cost = 3 * sparse * images + (whole - sparse) * dense
        totals = module.masks.weights_by_layer()
        assert module.training_cost.flops(macs, totals) == pytest.approx(cost)


def test_an_update_with_a_gradient_that_is_no_number_does_nothing(cell, settings):
    module, _ = train(cell("rigl", epochs=1), settings)
    before = state_of(module)
    gradients = {name: torch.full_like(w, float("nan")) for name, w in prunable(module.network)}
    module.update_masks(0, gradients)
    after = state_of(module)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_redistributed_weights_go_where_gradients_are_large(cell, settings):
    kept = {}
    for redistribute in (False, True):
        module, _ = train(cell("snfs", delta_t=5, redistribute=redistribute), settings)
        kept[redistribute] = module.masks.kept_by_layer()
        assert sum(kept[redistribute].values()) == sum(module.initial_nonzero.values())
    assert kept[False] == module.initial_nonzero
    assert kept[True]["fc3.weight"] > kept[False]["fc3.weight"]
    assert kept[True]["fc1.weight"] < kept[False]["fc1.weight"]


REFUSED = {
    RigL: [{"alpha": 0.0}, {"alpha": 1.0}, {"delta_t": 0}, {"end": 0.0}, {"end": 1.1}],
    SNFS: [{"decay": 1.0}, {"decay": -0.1}, {"delta_t": 0}],
}


@pytest.mark.parametrize(("cls", "hyper"), [(c, h) for c, hs in REFUSED.items() for h in hs])
def test_values_that_cannot_be_are_refused_by_name(cls, hyper):
    with pytest.raises(BenchError, match=next(iter(hyper))):
        cls.Hyper(**hyper)
