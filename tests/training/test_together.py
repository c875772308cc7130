"""Networks that are trained together are those that are trained alone."""

from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pai_bench import Masks, networks, prunable
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.experiment.bundle import Bundle
from pai_bench.networks.resnet_cifar import resnet
from pai_bench.networks.wide_resnet import wide_resnet
from pai_bench.registry import methods as registry
from pai_bench.store import checkpoint_files
from pai_bench.training import fit
from pai_bench.training.callbacks import learning_curves
from pai_bench.training.checkpoint import OutOfTime, TrainingCheckpoint
from pai_bench.training.together.member import HOOKS
from pai_bench.training.together.stacked_layers import NotStackable
from pai_bench.training.together.stacked_network import StackedNetwork, check_stackable

KINDS = {
    "dense": {}, "snip": {}, "synflow": {"rounds": 3}, "ntk-sap": {"rounds": 2}, "grasp": {},
    "random-filters": {}, "rigl": {"delta_t": 5}, "set": {"delta_t": 5, "update": "after"},
    "snfs": {"delta_t": 5, "update": "after"}, "gradual": {"frequency": 5, "pruned": "remembered"},
    "imp": {"rounds": 2, "rewind": 3}, "ntt": {"epochs": 1}, "dessilbi": {"search_epochs": 1},
    "small-dense": {},
}  # fmt: skip
"""Each kind of method: masks before training, during it, by a training of their own."""


@pytest.fixture(scope="module")
def cells(quick):
    """A cell of every kind of method, of two seeds."""
    (snip,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    made = [replace(snip, method=name, hyper=hyper) for name, hyper in KINDS.items()]
    made[0] = replace(made[0], density=1.0)
    skip = replace(snip, method="rigl", hyper={"delta_t": 5, "update": "skip"}, seed=2)
    return [*made, replace(snip, seed=2), skip]


@pytest.fixture(scope="module")
def alone(settings):
    """Outcome of a cell that is trained alone; each is trained once."""
    outcomes = {}

    def outcome(cell):
        if cell.id not in outcomes:
            outcomes[cell.id] = fit.fit_cell(cell, settings)
        return outcomes[cell.id]

    return outcome


def same(ours, alone, tolerance):
    """Whether two outcomes are the same, but for so much in their training losses.

    Test curves are means in float32, whatever the precision of the network.
    """
    resolution = 2e-7 if tolerance else 0.0
    assert ours.result.status == alone.result.status, ours.result.traceback
    assert ours.curves.keys() == alone.curves.keys()
    for name, curve in alone.curves.items():
        allowed = tolerance if name == "train_loss" else max(tolerance, resolution)
        assert ours.curves[name] == pytest.approx(curve, abs=allowed, rel=0)
    assert all(torch.equal(mask, alone.masks[name]) for name, mask in ours.masks.items())
    assert ours.result.layers == alone.result.layers
    assert ours.result.flops == alone.result.flops
    assert ours.result.density == alone.result.density
    return True


def test_in_step_every_method_has_the_result_that_it_has_alone_bit_by_bit(cells, settings, alone):
    together = fit.fit(Bundle(tuple(cells)), settings)
    for cell, ours in zip(cells, together, strict=True):
        assert same(ours, alone(cell), 0.0)
        mode = {"mode": "in step", "networks": len(cells)}
        assert ours.result.environment["training"] == mode


@pytest.mark.parametrize(
    "network", ["lenet-300-100", pytest.param("resnet-20", marks=pytest.mark.slow)]
)
def test_in_a_stack_every_method_has_the_result_that_it_has_alone(network, cells, settings, alone):
    double = [replace(cell, network=network, precision="64-true") for cell in cells]
    if network == "resnet-20":
        short = cells[0].recipe.model_copy(update={"steps": 12, "batch_size": 16})
        double = [replace(cell, recipe=short) for cell in double]
        double = [cell for cell in double if cell.method in ("dense", "set", "rigl", "gradual")]
    together = fit.fit(Bundle(tuple(double)), settings, stacked=True)
    for cell, ours in zip(double, together, strict=True):
        assert same(ours, alone(cell), 1e-9)
        assert ours.result.environment["training"]["mode"] == "stack"


@pytest.mark.parametrize("recipe", [
    {"clip": "norm", "clip_at": 0.5}, {"clip": "value", "clip_at": 0.01}, {"warmup": 1.0},
    {"optimizer": "adam", "lr": 0.001, "momentum": 0.0}, {"label_smoothing": 0.1, "nesterov": True},
    {"steps": 30, "schedule_unit": "step", "milestones": (10,)}, {"decay": "prunable"},
], ids=str)  # fmt: skip
def test_recipes_do_what_they_do_alone(recipe, quick, settings):
    cells = quick(methods=("snip", "random"), densities=(0.1,), seeds=(1, 2))
    changed = cells[0].recipe.model_copy(update=recipe)
    cells = tuple(replace(cell, recipe=changed, precision="64-true") for cell in cells)
    alone = [fit.fit_cell(cell, settings) for cell in cells]
    for stacked, tolerance in ((False, 0.0), (True, 1e-9)):
        together = fit.fit(Bundle(cells), settings, stacked=stacked)
        pairs = zip(together, alone, strict=True)
        assert all(same(ours, theirs, tolerance) for ours, theirs in pairs)


# A stack of any network of the papers -------------------------------------------------------------

SMALL = {
    "lenet-5": (1, 28, 28), "lenet-dessilbi": (1, 28, 28), "conv-4": (3, 16, 16),
    "conv-4-dropout": (3, 16, 16), "lenet-300-100": (1, 28, 28), "vgg-16-bn": (3, 32, 32),
    "resnet-18-small-stem": (3, 8, 8), "mobilenet-v1": (3, 64, 64),
}  # fmt: skip
LARGE = ("vgg-16-bn", "resnet-18-small-stem", "mobilenet-v1")
BUILT = {
    "resnet of 8 layers": lambda: resnet(8, (3, 16, 16), 10),
    "wide resnet with dropout": lambda: wide_resnet(10, 1, 0.3, (3, 16, 16), 10),
}


def built(name, settings, number):
    """Some networks of a kind in float64, and the shape of an image."""

    def build():
        if name in BUILT:
            return BUILT[name](), (3, 16, 16)
        network = networks.build(settings.networks[name], SMALL[name], 10)
        return network, SMALL[name]

    made = []
    for seed in range(number):
        torch.manual_seed(seed)
        made.append(build())
    return [network.double() for network, _ in made], made[0][1]


def steps(network, optimizer, batches, masks, rng):
    """Train one network alone, and return its losses."""
    losses = []
    with rng.as_global("training"):
        for images, labels in batches:
            optimizer.zero_grad()
            loss = cross_entropy(network(images), labels)
            loss.backward()
            for name, weight in prunable(network):
                weight.grad.mul_(masks[name])
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


def sgd(network):
    return torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, nesterov=True,
                           weight_decay=1e-4)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else [])
        for name in (*SMALL, *BUILT)
    ],
)
def test_a_stack_takes_the_steps_of_its_networks(name, settings):
    """As `Stack` does, by hand: after some steps all weights and statistics are the same."""
    count, number = (2, 2) if name in LARGE else (20, 3)
    own, shape = built(name, settings, number)
    alone, _ = built(name, settings, number)
    moved, _ = built(name, settings, 1)
    next(moved[0].parameters()).data.flatten()[0] += 1e-15
    masks = [Masks({n: torch.rand_like(w) < 0.5 for n, w in prunable(net)}) for net in own]
    for nets in (own, alone, moved):
        for network, mask in zip(nets, masks, strict=False):
            mask.apply(network.train())
    batches = [(torch.randn(3, *shape).double(), torch.randint(10, (3,))) for _ in range(count)]
    streams = [RandomStreams(seed) for seed in range(number)]
    for nets in (alone, moved):
        for network, mask, rng in zip(nets, masks, streams, strict=False):
            steps(network, sgd(network), batches, mask, rng)
    check_stackable(own[:2], batches[0][0])
    stack = StackedNetwork(own)
    stack.use([rng.generator("training") for rng in streams])
    optimizers = [sgd(network) for network in own]
    for images, labels in batches:
        stack.zero_grad()
        logits = stack.logits(images.repeat(1, number, 1, 1))
        sum(cross_entropy(logits[:, k], labels) for k in range(number)).backward()
        stack.share_gradients()
        for network, mask, optimizer in zip(own, masks, optimizers, strict=True):
            for key, weight in prunable(network):
                weight.grad.mul_(mask[key])
            optimizer.step()
    assert stack.is_aliased()
    sensitivity = distance(moved[0], alone[0])
    for ours, theirs in zip(own, alone, strict=True):
        assert distance(ours, theirs) <= max(1e-9, 10 * sensitivity)


def distance(one, other):
    """Largest difference of two networks' tensors."""
    mine, theirs = one.state_dict(), other.state_dict()
    return max(float((mine[name] - theirs[name]).abs().max()) for name in mine)


class Mixes(nn.Module):
    """A network whose forward code reverses channels: K networks would get each other's."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 3), nn.Linear(2, 10)

    def forward(self, images):
        return self.fc(self.conv(images).flip(1).mean((2, 3)))


class OfItsOwn(nn.Module):
    """A network with a parameter outside of all layers."""

    def __init__(self):
        super().__init__()
        self.fc, self.scale = nn.Linear(64, 10), nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.fc(images.flatten(1)) * self.scale


@pytest.mark.parametrize(("network", "reason"), [
    (Mixes, "mixes channels"), (OfItsOwn, "is a OfItsOwn"),
    (lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)), "BatchNorm1d"),
    (lambda: nn.Sequential(nn.Flatten(), nn.AlphaDropout(), nn.Linear(64, 10)), "AlphaDropout"),
])  # fmt: skip
def test_what_a_stack_cannot_hold_is_found(network, reason):
    with pytest.raises(NotStackable, match=reason):
        check_stackable([network(), network()], torch.randn(2, 1, 8, 8))


# What else may happen -----------------------------------------------------------------------------

PLUGIN = '''
import torch
from torch import nn
from pai_bench import Masks, PruneAtInit, network, prunable, register
from pai_bench.training.together.member import HOOKS

@register("raises")
class Raises(PruneAtInit):
    """Raises while it chooses masks."""
    def scores(self, network, batches):
        raise RuntimeError("no scores")

@register("raises-later")
class RaisesLater(PruneAtInit):
    """Raises in the midst of training."""
    def scores(self, network, batches):
        return {name: weight.detach().abs() for name, weight in prunable(network)}
    def on_train_batch_end(self, *_):
        if self.trainer.global_step == 30:
            raise RuntimeError("in the midst")

@register("diverges")
class Diverges(RaisesLater):
    """Has no finite weights from some step on."""
    def on_train_batch_end(self, *_):
        if self.trainer.global_step == 30:
            with torch.no_grad():
                next(self.network.parameters()).fill_(float("nan"))

@register("reversed")
class Reversed(PruneAtInit):
    """Names its layers in reversed order."""
    def scores(self, network, batches):
        return {name: weight.detach().abs() for name, weight in reversed(prunable(network))}

@register("reversed-masks")
class ReversedMasks(Reversed):
    """Names its masks so, too."""
    def sparsify(self, batches):
        masks = super().sparsify(batches)
        return Masks({name: masks[name] for name in reversed(list(masks))})

@register("too-dense")
class TooDense(PruneAtInit):
    """Keeps half of the weights, whatever is asked for."""
    needs_data = False
    def sparsify(self, batches):
        return Masks({n: w > w.median() for n, w in prunable(self.network)})

@register("own-loss")
class OwnLoss(RaisesLater):
    """Has a loss of its own."""
    def batch_loss(self, batch):
        return 2 * super().batch_loss(batch)
    def on_train_batch_end(self, *_):
        pass

@register("own-optimizer")
class OwnOptimizer(OwnLoss):
    """Has an optimizer of its own."""
    def configure_optimizers(self):
        return torch.optim.SGD(self.network.parameters(), 0.01)

@register("replaces")
class Replaces(OwnLoss):
    """Replaces a tensor of its network."""
    def batch_loss(self, batch):
        raise NotImplementedError
    batch_loss = PruneAtInit.batch_loss
    def on_train_epoch_start(self):
        weight = next(self.network.parameters())
        weight.data = weight.data.clone()

@register("records")
class Records(OwnLoss):
    """Notes which hooks are called, and at which step."""
    calls = []
    batch_loss = PruneAtInit.batch_loss

def _recording(name):
    def hook(self, *_arguments):
        self.calls.append((name, self.trainer.global_step, self.current_epoch))
    return hook

for _name in HOOKS:
    setattr(Records, _name, _recording(_name))

@network("scaled", version=1)
def scaled(shape, classes):
    """A network that cannot be stacked."""
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.scale = nn.Linear(64, classes), nn.Parameter(torch.ones(()))
        def forward(self, images):
            return self.fc(images.flatten(1)) * self.scale
    return Scaled()

@network("alike", version=1)
def alike(shape, classes):
    """A network whose layers have the same shape, all but the first."""
    def pair():
        return nn.Linear(64, 64), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *pair(), *pair(), *pair())
'''


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return path


@pytest.mark.parametrize("stacked", [False, True])
def test_all_hooks_are_called_when_they_are_alone(stacked, quick, settings, plugin):
    (snip,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    cell = replace(snip, method="records")
    calls = registry.load("records", (plugin,)).calls
    calls.clear()
    fit.fit_cell(cell, settings, plugins=(plugin,))
    alone = list(calls)
    calls.clear()
    fit.fit(Bundle((cell, snip)), settings, plugins=(plugin,), stacked=stacked)
    assert {name for name, *_ in alone} == set(HOOKS)
    assert sorted(calls) == sorted(alone)


@pytest.mark.parametrize("stacked", [False, True])
def test_a_method_that_fails_is_taken_out_and_the_others_go_on(stacked, quick, settings, plugin):
    (snip,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,), epochs=3)
    failing = ("raises", "raises-later", "diverges")
    cells = [snip, *(replace(snip, method=name) for name in failing)]
    outcomes = fit.fit(Bundle(tuple(cells)), settings, plugins=(plugin,), stacked=stacked)
    assert [outcome.result.status for outcome in outcomes] == ["done", "failed", "failed", "failed"]
    assert same(outcomes[0], fit.fit_cell(snip, settings), 1e-4 if stacked else 0.0)
    reasons = [outcome.result.reason for outcome in outcomes[1:]]
    assert reasons[:2] == ["RuntimeError: no scores", "RuntimeError: in the midst"]
    assert reasons[2].startswith("Diverged: the ")
    assert "in the midst" in outcomes[2].result.traceback


def test_masks_that_are_too_dense_stand_beside_no_others(quick, settings, plugin):
    (snip,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,), epochs=1)
    bundle = Bundle((snip, replace(snip, method="too-dense")))
    done, failed = fit.fit(bundle, settings, plugins=(plugin,))
    assert (done.result.status, failed.result.status) == ("done", "failed")
    assert "too-dense keeps 25," in failed.result.reason
    assert "more than density 0.1 allows (5,020)" in failed.result.reason
    half = replace(snip, method="too-dense", density=0.5)
    assert fit.fit_cell(half, settings, plugins=(plugin,)).result.status == "done"


def test_where_all_fail_there_are_failures_and_no_crash(quick, settings, plugin):
    (snip,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    cells = tuple(replace(snip, method=m) for m in ("raises", "raises-later"))
    outcomes = fit.fit(Bundle(cells), settings, plugins=(plugin,))
    assert [outcome.result.status for outcome in outcomes] == ["failed", "failed"]


def test_a_method_that_cannot_be_trained_with_others_is_trained_alone(quick, settings, plugin):
    cells = quick(methods=("snip",), densities=(0.5, 0.1), seeds=(1,))
    cells = (*cells, replace(cells[0], method="own-optimizer"))
    bundle, reported = Bundle(cells), []
    outcomes = fit.fit(bundle, settings, None, (plugin,), reported.append)
    assert {progress.bundle.id for progress in reported} == {bundle.id}
    assert max(progress.epoch for progress in reported) == reported[-1].epochs
    alone = fit.fit_cell(cells[2], settings, plugins=(plugin,))
    assert same(outcomes[2], alone, 0.0)
    how = outcomes[2].result.environment["training"]
    assert how == {"mode": "alone", "networks": 1,
                   "note": "own-optimizer has its own configure_optimizers"}  # fmt: skip
    assert outcomes[0].result.environment["training"]["networks"] == 2


def test_a_loss_of_ones_own_is_trained_in_step_where_a_stack_is_asked_for(quick, settings, plugin):
    cells = quick(methods=("snip",), densities=(0.5,), seeds=(1,))
    cells = (*cells, replace(cells[0], method="own-loss"))
    outcomes = fit.fit(Bundle(cells), settings, plugins=(plugin,), stacked=True)
    for cell, ours in zip(cells, outcomes, strict=True):
        assert same(ours, fit.fit_cell(cell, settings, plugins=(plugin,)), 0.0)
        how = ours.result.environment["training"]
        assert (how["mode"], how["note"]) == (
            "in step", "not stacked: own-loss has its own batch_loss")  # fmt: skip


def test_a_network_that_cannot_be_stacked_is_trained_in_step(quick, settings, plugin, methods):
    from pai_bench.config.overrides import with_overrides
    from pai_bench.experiment import grid
    from pai_bench.registry import plugins

    extended = plugins.extend(settings, (plugin,))
    name = "quick+network=scaled+epochs=2"
    extended = with_overrides(extended, name)
    cells = grid.cells(extended, methods, name, grid.Selection(("snip",), (0.5, 0.1), (1,)))
    outcomes = fit.fit(Bundle(tuple(cells)), extended, plugins=(plugin,), stacked=True)
    for outcome in outcomes:
        assert (
            outcome.result.environment["training"]["note"] == "not stacked: the network is a Scaled"
        )


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("method", ["reversed", "reversed-masks"])
def test_masks_find_their_weights_in_whatever_order_they_are(
    method, stacked, quick, settings, plugin
):
    from pai_bench.registry import plugins

    extended = plugins.extend(settings, (plugin,))
    cells = quick(methods=("snip",), densities=(0.2,), seeds=(1, 2), epochs=2)
    cells = [replace(cell, method=method, network="alike", precision="64-true") for cell in cells]
    outcomes = fit.fit(Bundle(tuple(cells)), extended, plugins=(plugin,), stacked=stacked)
    for cell, ours in zip(cells, outcomes, strict=True):
        alone = fit.fit_cell(cell, extended, plugins=(plugin,))
        assert same(ours, alone, 1e-9 if stacked else 0.0)
        assert sorted(alone.masks) == list(alone.masks)


def test_after_a_step_hooks_are_called_in_the_precision_that_they_are_called_in_alone(
    quick, settings, monkeypatch
):
    cells = quick(methods=("snip",), densities=(0.2,), seeds=(1, 2), epochs=1)
    recipe = cells[0].recipe.model_copy(update={"evaluate_at": (3, 7)})
    cells = [replace(cell, recipe=recipe, precision="bf16-mixed") for cell in cells]
    seen, accuracy = [], learning_curves.accuracy

    def watched(module, batches):
        seen.append(torch.is_autocast_enabled("cpu"))
        return accuracy(module, batches)

    monkeypatch.setattr(learning_curves, "accuracy", watched)
    together = fit.fit(Bundle(tuple(cells)), settings)
    alone = [fit.fit_cell(cell, settings) for cell in cells]
    assert seen == [False] * 8
    after = [[o.result.accuracy_after for o in outcomes] for outcomes in (together, alone)]
    assert after[0] == after[1]
    assert all(len(accuracies) == 2 for accuracies in after[0])


def test_replaced_tensors_are_noticed(quick, settings, plugin):
    cells = quick(methods=("snip",), densities=(0.5,), seeds=(1,))
    cells = (*cells, replace(cells[0], method="replaces"))
    outcomes = fit.fit(Bundle(cells), settings, plugins=(plugin,), stacked=True)
    assert all("--stack off" in outcome.result.reason for outcome in outcomes)


@pytest.mark.parametrize("stacked", [False, True])
def test_a_collapsed_network_that_is_skipped_is_evaluated(stacked, quick, settings):
    cells = quick(methods=("snip", "magnitude"), densities=(0.5, 0.0001), seeds=(1,))
    recipe = cells[0].recipe.model_copy(update={"collapsed": "skip"})
    cells = tuple(replace(cell, recipe=recipe, precision="64-true") for cell in cells)
    outcomes = fit.fit(Bundle(cells), settings, stacked=stacked)
    alone = [fit.fit_cell(cell, settings) for cell in cells]
    assert {outcome.result.status for outcome in outcomes} == {"done", "skipped"}
    for ours, theirs in zip(outcomes, alone, strict=True):
        assert same(ours, theirs, 1e-9 if stacked else 0.0)
        assert ours.result.reason == theirs.result.reason


class Interrupt(pl.Callback):
    """Does as Ctrl-C after so many steps."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 30:
            raise KeyboardInterrupt


STATIC = "dense", "snip", "synflow", "random-filters"
"""Methods that leave the steps of a training alone: one optimizer steps a stack of them."""


@pytest.mark.parametrize(("stacked", "kinds"), [
    (False, KINDS), pytest.param(True, KINDS, marks=pytest.mark.slow), (True, STATIC)
])  # fmt: skip
def test_an_interrupted_bundle_resumes_as_if_it_had_never_stopped(
    stacked, kinds, cells, settings, alone, tmp_path, monkeypatch
):
    precision = "64-true" if stacked else "32-true"
    chosen = [cell for cell in cells if cell.method in kinds]
    bundle = Bundle(tuple(replace(cell, precision=precision) for cell in chosen))
    monkeypatch.setattr(TrainingCheckpoint, "every", 0.0)
    join = TrainingCheckpoint.join

    def with_interrupt(self, trainer):
        path = join(self, trainer)
        trainer.callbacks.append(Interrupt())
        return path

    with monkeypatch.context() as patched:
        patched.setattr(TrainingCheckpoint, "join", with_interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit.fit(bundle, settings, runs=tmp_path, stacked=stacked)
    assert checkpoint_files.path(tmp_path, bundle).is_file()
    resumed = fit.fit(bundle, settings, runs=tmp_path, stacked=stacked)
    for cell, ours in zip(bundle, resumed, strict=True):
        assert same(ours, alone(cell), 1e-9 if stacked else 0.0)
        assert ours.result.environment["resumed"] == 1


def test_the_networks_of_a_resumed_bundle_share_what_earlier_runs_took(quick, settings, tmp_path):
    bundle = Bundle(tuple(quick(methods=("magnitude", "snip"), densities=(0.5,), seeds=(1, 2))))
    with pytest.raises(OutOfTime):
        fit.fit(bundle, settings, runs=tmp_path, deadline=0.0)
    path = checkpoint_files.path(tmp_path, bundle)
    known = torch.load(path, weights_only=True)
    known["callbacks"]["TrainingCheckpoint"]["seconds"] = 1000.0
    torch.save(known, path)
    resumed = fit.fit(bundle, settings, runs=tmp_path)
    totals = [outcome.result.seconds["total"] for outcome in resumed]
    assert 1000 < sum(totals) < 1100
    assert all(240 < total < 300 for total in totals)


def test_methods_of_this_file_are_registered_ones():
    assert KINDS.keys() <= registry.available().keys()


def test_bundles_are_checked_before_they_are_trained(cells):
    with pytest.raises(BenchError, match="differ in precision"):
        Bundle((cells[0], replace(cells[1], precision="64-true")))
