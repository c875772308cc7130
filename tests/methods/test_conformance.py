"""Every method of the benchmark conforms; a bad one is caught by the check that is for it.

The bad methods stand at the top of this file as those of a plugin would: the suite finds a class
by the file that it stands in.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pai_bench import Masks, PruneAtInit, prunable
from pai_bench.core.errors import BenchError
from pai_bench.methods.conformance import CHECKS, assert_conforms, check
from pai_bench.methods.conformance.subject import DIGITS, Advice, Failure, find
from pai_bench.registry import methods as registry
from pai_bench.registry.methods import register
from pai_bench.sparsity.select import topk_masks
from pai_bench.training.module import SparseClassifier

HEAD = (
    "from dataclasses import dataclass\n"
    "from pai_bench import PruneAtInit, SparseClassifier\n"
    "from pai_bench.registry.methods import register\n"
    "from pai_bench import prunable\n\n"
)


@register("good")
class Good(PruneAtInit):
    """Keep the weights that are farthest from a number made of images and labels."""

    def shift(self, batches):
        return sum(float(images.mean()) + float(labels.sum()) / 9 for images, labels in batches)

    def scores(self, network, batches):
        shift = self.shift(batches) % 0.2 - 0.1
        return {n: (w.detach() - shift).abs() for n, w in prunable(network)}


@register("keeps-one-less")
class KeepsOneLess(Good):
    """Drop one more weight than was asked for."""

    def keep(self, scores):
        masks = super().keep(scores)
        last = list(masks.values())[-1].view(-1)
        last[last.nonzero()[-1]] = False
        return masks


@register("keeps-at-most")
class KeepsAtMost(KeepsOneLess):
    """The same below density 1, and say so; decline what has one layer only."""

    exact_density = False

    def keep(self, scores):
        return Good.keep(self, scores) if self.context.density == 1 else super().keep(scores)

    def scores(self, network, batches):
        if len(prunable(network)) < 2:
            raise BenchError("one layer is too few")
        return super().scores(network, batches)


@register("keeps-too-many")
class KeepsTooMany(Good):
    """Keep one more weight than the upper bound that was declared."""

    exact_density = False

    def keep(self, scores):
        masks = super().keep(scores)
        last = list(masks.values())[-1].view(-1)
        last[(~last).nonzero()[:1]] = True
        return masks


@register("keeps-at-random-odds")
class Everywhere(Good):
    """Heed no allocation by layer."""

    def keep(self, scores):
        return topk_masks(scores, self.context.density)


@register("float-masks")
class FloatMasks(Good):
    """Return numbers for masks."""

    def sparsify(self, batches):
        return {name: mask.float() for name, mask in super().sparsify(batches).items()}


@register("made-of-floats")
class MadeOfFloats(Good):
    """Make masks out of numbers."""

    def keep(self, scores):
        return Masks({name: (score > 0).float() for name, score in scores.items()})


@register("forgets-a-layer")
class ForgetsALayer(Good):
    """Score all layers but the last."""

    def scores(self, network, batches):
        return dict(list(super().scores(network, batches).items())[:-1])


@register("flat")
class Flat(Good):
    """Lose the shape of the scores."""

    def scores(self, network, batches):
        return {name: score.flatten() for name, score in super().scores(network, batches).items()}


@register("flat-masks")
class FlatMasks(Good):
    """Lose the shape of the masks."""

    def sparsify(self, batches):
        return Masks({name: mask.flatten() for name, mask in super().sparsify(batches).items()})


@register("crashes")
class Crashes(Good):
    """Raise an error of two lines."""

    def shift(self, batches):
        raise ValueError("this is wrong\nand that")


@register("not-a-number")
class NotANumber(Good):
    """Divide by nothing."""

    def scores(self, network, batches):
        return {name: score / 0 for name, score in super().scores(network, batches).items()}


@register("global-numpy")
class GlobalNumpy(SparseClassifier):
    """Draw from numpy's global generator, which only PruneAtInit seeds."""

    def sparsify(self, batches):
        drawn = {n: torch.from_numpy(np.random.random(w.shape)) for n, w in prunable(self.network)}
        return topk_masks(drawn, self.context.density)


@register("global-torch")
class GlobalTorch(SparseClassifier):
    """Draw from torch's global generator, which only PruneAtInit seeds."""

    def sparsify(self, batches):
        drawn = {n: torch.rand_like(w.float()) for n, w in prunable(self.network)}
        return topk_masks(drawn, self.context.density)


@register("seeds-the-world")
class SeedsTheWorld(Good):
    """Seed a global generator, and leave it so."""

    def sparsify(self, batches):
        random.seed(5)
        return super().sparsify(batches)


@register("unseeded")
class Unseeded(Good):
    """Draw from the operating system."""

    def scores(self, network, batches):
        """Noise for every weight: no two runs choose the same ones by chance."""
        drawn = torch.Generator().manual_seed(random.SystemRandom().getrandbits(62))
        scores = super().scores(network, batches)
        return {n: s + torch.rand(s.shape, generator=drawn) for n, s in scores.items()}


@register("counts-its-runs")
class CountsItsRuns(Good):
    """Keep a number from run to run."""

    runs: ClassVar[int] = 0

    def shift(self, batches):
        type(self).runs += 1
        return super().shift(batches) * type(self).runs


@register("remembers")
class Remembers(Good):
    """Start from the density of the last run."""

    last: ClassVar[list[float]] = [0.0]

    def shift(self, batches):
        return super().shift(batches) + self.last[0]

    def sparsify(self, batches):
        masks = super().sparsify(batches)
        self.last[0] = self.context.density
        return masks


@register("caches")
class Caches(Good):
    """Score once, and give the same scores for ever to networks of the same shapes."""

    known: ClassVar[dict] = {}

    def scores(self, network, batches):
        key = tuple(w.shape for _, w in prunable(network))
        self.known.setdefault(key, super().scores(network, batches))
        return self.known[key]


@register("spoils-images")
class SpoilsImages(Good):
    """Normalise the images in place; those that train get no copies."""

    trains_to_score = True

    def shift(self, batches):
        return sum(float(images.sub_(images.mean()).amax()) for images, _ in batches)


@register("spoils-labels")
class SpoilsLabels(Good):
    """Shift the labels in place."""

    def shift(self, batches):
        return super().shift([(images, labels.add_(1)) for images, labels in batches])


@register("scales-weights")
class ScalesWeights(Good):
    """Change the weights that will be trained."""

    def shift(self, batches):
        for _, weight in prunable(self.network):
            weight.data.mul_(0.5)
        return super().shift(batches)


@register("moves-statistics")
class MovesStatistics(Good):
    """Send a batch through the network that will be trained."""

    def shift(self, batches):
        self.network(batches[0][0])
        return super().shift(batches)


@register("changes-modes")
class ChangesModes(Good):
    """Leave the network in evaluation mode."""

    def shift(self, batches):
        self.network.eval()
        return super().shift(batches)


@register("leaves-gradients")
class LeavesGradients(Good):
    """Leave gradients behind."""

    def shift(self, batches):
        for _, weight in prunable(self.network):
            weight.grad = torch.ones_like(weight)
        return super().shift(batches)


@register("freezes")
class Freezes(Good):
    """Freeze biases and gains."""

    def shift(self, batches):
        weights = dict(prunable(self.network))
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in weights)
        return super().shift(batches)


@register("leaves-hooks")
class LeavesHooks(Good):
    """Leave a hook behind."""

    def shift(self, batches):
        self.network.register_forward_hook(_does_nothing)
        return super().shift(batches)


def _does_nothing(_module, _inputs, _output):
    return None


@register("sets-momentum")
class SetsMomentum(Good):
    """Change how batch norms keep their statistics."""

    def shift(self, batches):
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.5
        return super().shift(batches)


@register("prints")
class Prints(Good):
    """Say what it does."""

    def shift(self, batches):
        print("scoring now")
        return super().shift(batches)


@register("uses-labels")
class UsesLabels(Good):
    """Use labels in secret."""

    needs_labels = False


@register("peeks-at-labels")
class PeeksAtLabels(Good):
    """Use labels where there are any."""

    needs_labels = False

    def shift(self, batches):
        return sum(1.0 if labels is None else float(labels.sum()) / 7 for _, labels in batches)


@register("uses-data")
class UsesData(Good):
    """Use images in secret."""

    needs_data = False
    needs_labels = False

    def shift(self, batches):
        return sum(float(images.mean()) for images, _ in batches)


@register("holds-a-lambda")
class HoldsALambda(Good):
    """Hold what cannot be pickled."""

    def sparsify(self, batches):
        self.rule = lambda score: score
        return super().sparsify(batches)


@register("half-blind")
class HalfBlind(Good):
    """Go through numpy, which knows no bfloat16."""

    def scores(self, network, batches):
        shift = self.shift(batches)
        return {n: torch.from_numpy(abs(w.detach().numpy() - shift)) for n, w in prunable(network)}


@register("linear-only")
class LinearOnly(Good):
    """Expect matrices."""

    def scores(self, network, batches):
        for _, weight in prunable(network):
            _rows, _columns = weight.shape
        return super().scores(network, batches)


@register("deep-only")
class DeepOnly(Good):
    """Expect a second layer."""

    def scores(self, network, batches):
        assert prunable(network)[1]
        return super().scores(network, batches)


@register("takes-any-rounds")
class TakesAnyRounds(Good):
    """Forget what the base class checks."""

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """One more."""

        taste: float = 0.5

        def __post_init__(self):
            pass


@register("thaws")
class Thaws(SparseClassifier):
    """Have hyper-parameters that can be changed afterwards."""

    prunes = False

    @dataclass
    class Hyper:
        """One of its own."""

        taste: float = 0.5


@register("broken-option")
class BrokenOption(Good):
    """Fail for one choice of an option."""

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """One more."""

        kind: Literal["sweet", "sour"] = "sweet"

    def shift(self, batches):
        return {"sweet": super().shift(batches)}[self.hyper.kind]


@register("version-zero")
class VersionZero(Good):
    """Have no version."""

    version = 0


@register("some-time")
class SomeTime(Good):
    """Choose at a time that nobody knows."""

    when = "later"


@register("wordless")
class Wordless(Good):
    needs_data = True


@register("grows-back")
class GrowsBack(Good):
    """Let pruned weights learn."""

    def configure_callbacks(self):
        return [c for c in super().configure_callbacks() if c is not self.mask_enforcement]


@register("prunes-on")
class PrunesOn(Good):
    """Change the masks while training without saying so."""

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        self.set_masks(Masks({name: torch.zeros_like(mask) for name, mask in self.masks.items()}))


@register("noisy-training")
class NoisyTraining(Good):
    """Train with noise that nobody has seeded."""

    def training_step(self, batch, index):
        images, labels = batch
        noise = np.random.default_rng().standard_normal()
        return super().training_step((images + noise, labels), index)


@register("fails-to-train")
class FailsToTrain(Good):
    """Have a step that fails."""

    def training_step(self, batch, _index):
        return cross_entropy(self.network(batch[0]), batch)


@register("loses-curves")
class LosesCurves(Good):
    """Drop what the callback notes."""

    def on_validation_epoch_start(self):
        self.learning_curves.points["train_loss"] = []


@register("loses-masks")
class LosesMasks(Good):
    """Save no masks."""

    def on_save_checkpoint(self, checkpoint):
        pass


@register("ignores-masks")
class IgnoresMasks(Good):
    """Load no masks."""

    def on_load_checkpoint(self, checkpoint):
        pass


@register("counts-steps")
class CountsSteps(Good):
    """Remember how many steps there were, and tell no checkpoint."""

    steps = 0

    def batch_loss(self, batch):
        self.steps += 1
        return super().batch_loss(batch) / self.steps


@register("needless")
class Needless(Good):
    """Look at neither images nor labels, though it says so."""

    def shift(self, batches):
        return 0.0


@register("untyped")
class Untyped(Good):
    """Have a hyper-parameter of a kind that is not checked."""

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """One more."""

        sizes: tuple[int, ...] = (1, 2)


@register("wants-two")
class WantsTwo(Good):
    """Compare an image with another."""

    def shift(self, batches):
        return float((batches[0][0][0] - batches[0][0][1]).mean())


ONE_EACH = [
    (VersionZero, "declaration", "version is 0; it must be an integer from 1"),
    (TakesAnyRounds, "hyper-parameters", "accepts 0 rounds without an error; call super()"),
    (UsesLabels, "labels", "without labels it raises AttributeError; declare needs_labels = True"),
    (UsesData, "data", "other images give other masks; declare needs_data = True"),
    (FloatMasks, "masks", "sparsify() returned dict; return Masks"),
    (ForgetsALayer, "masks", "scores are missing for 3.weight"),
    (Flat, "masks", "scores of 1.weight have shape (576,), the weight has (16, 36)"),
    (NotANumber, "masks", "the scores of 1.weight are not finite"),
    (LinearOnly, "networks", "on a plain convolutional network at density 0.25: ValueError: too"),
    (KeepsOneLess, "density", "639 of 640 weights are kept, the target is 640"),
    (Everywhere, "layers", "scope=local: "),
    (BrokenOption, "options", "kind=sour: KeyError: 'sour'"),
    (HalfBlind, "types", "in bfloat16 at density 0.25: TypeError"),
    (Unseeded, "repeatable", "two runs at one seed differ in 1.weight; draw from self.context.rng"),
    (CountsItsRuns, "repeatable", "keep no state between runs"),
    (Remembers, "order", "after a run on a ResNet with batch norm at density 0.5 the masks of"),
    (GlobalNumpy, "random state", "random state of numpy is changed"),
    (ScalesWeights, "network", "value of 1.weight of the network that will be trained is changed"),
    (SpoilsImages, "batches", "the images of a batch are changed; change a clone()"),
    (PrunesOn, "cell", "training changed the masks; declare when = 'during'"),
    (NoisyTraining, "cell again", "its curves differ; draw from self.context.rng"),
    (GrowsBack, "pruned weights", "call super() in the hooks that you override"),
    (LosesMasks, "checkpoint", "its checkpoint cannot be loaded: KeyError: 'masks'; call super()"),
    (CountsSteps, "interruption", "interrupted at step 7 and resumed, 0.weight differs; save"),
    (HoldsALambda, "pickle", "keep lambdas, local functions and open files out of self"),
    (Prints, "silence", "prints to standard output ('scoring now'); use the logging module"),
]
"""Caught by this check, and by no other."""
MORE = [
    (SomeTime, "declaration", "when is 'later'; it must be one of init, during, path"),
    (Wordless, "declaration", "no docstring"),
    (Thaws, "hyper-parameters", "Thaws.Hyper is not a frozen dataclass; decorate it"),
    (PeeksAtLabels, "labels", "other labels give other masks; declare needs_labels = True"),
    (MadeOfFloats, "masks", "mask 1.weight must be bool, got torch.float32"),
    (KeepsTooMany, "density", "193 of 640 weights are kept, the target is 192"),
    (FlatMasks, "masks", "the mask of 1.weight has shape (576,), the weight has (16, 36)"),
    (Crashes, "masks", "at density 0.25: ValueError: this is wrong (test_conformance.py:"),
    (DeepOnly, "networks", "on a network of one layer at density 0.25: IndexError"),
    (GlobalTorch, "random state", "random state of torch is changed"),
    (SeedsTheWorld, "random state", "random state of random is changed"),
    (MovesStatistics, "network", "value of 1.running_mean of the network"),
    (ChangesModes, "network", "training of the root of the network"),
    (LeavesGradients, "network", "grad of 1.weight of the network"),
    (Freezes, "network", "requires_grad of 1.bias of the network"),
    (LeavesHooks, "network", "_forward_hooks of the root of the network"),
    (SetsMomentum, "network", "momentum of 1 of the network"),
    (SpoilsLabels, "batches", "the labels of a batch are changed; change a clone()"),
    (FailsToTrain, "cell", "on digits: failed: TypeError"),
    (LosesCurves, "cell", "the curve train_loss is []"),
    (IgnoresMasks, "checkpoint", "loaded from a checkpoint, 0.weight differs; call super()"),
]
RUN = {entry.name: entry.run for entry in CHECKS}


def findings(method, plugins=()):
    found = {finding.name: finding for finding in check(method, plugins)}
    assert all(finding.message and "\n" not in finding.message for finding in found.values())
    return found


def cases(table):
    return [pytest.param(*case, id=case[0].__name__) for case in table]


@pytest.mark.parametrize("name", registry.available())
def test_every_method_of_the_benchmark_conforms(name):
    assert_conforms(name)


def test_a_good_method_passes_every_check_that_can_be_made_here():
    found = findings(Good)
    assert list(found) == ["import", *RUN]
    expected = dict.fromkeys(found, True) | {"gpu": torch.cuda.is_available() or None}
    assert {name: finding.ok for name, finding in found.items()} == expected


def test_masks_that_come_in_steps_may_keep_less_and_decline_networks():
    subject = find(KeepsAtMost, ()).load()
    assert "a network of one layer (rejected: one layer is too few)" in RUN["networks"](subject)
    assert RUN["density"](subject) == "never above in 13 cases"


def test_a_checkpoint_that_is_not_resumed_fails_the_check_of_interruptions(monkeypatch):
    monkeypatch.setattr(
        pl.Trainer, "save_checkpoint", lambda _, path: Path(path).write_bytes(b"no checkpoint")
    )
    with pytest.raises(Failure, match="step 7 is not resumed from; save tensors and plain data"):
        RUN["interruption"](find(Good, ()).load())


@pytest.mark.parametrize(("cls", "name", "says"), cases(ONE_EACH))
def test_what_is_bad_is_caught_by_one_check(cls, name, says):
    found = findings(cls)
    failed = {check: str(finding) for check, finding in found.items() if finding.ok is False}
    assert list(failed) == [name]
    assert says in failed[name]
    assert cls.__name__ in failed[name]


def test_each_check_that_can_fail_has_a_method_that_fails_it():
    assert RUN.keys() - {name for _, name, _ in ONE_EACH} == {"gpu", "one image", "seeds"}


@pytest.mark.parametrize(("cls", "name", "says"), cases(MORE))
def test_it_is_caught_in_every_form(cls, name, says):
    with pytest.raises(Failure) as caught:
        RUN[name](find(cls, ()).load())
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("cls", "name", "says"),
    [
        (Caches, "seeds", "is state kept from an earlier run?"),
        (Needless, "labels", "if that is so everywhere, declare needs_labels = False"),
        (Needless, "data", "if that is so everywhere, declare needs_data = False"),
        (Untyped, "hyper-parameters", "sizes is annotated 'tuple[int, ...]'"),
        (WantsTwo, "one image", "is not enough: WantsTwo on a ResNet"),
    ],
)
def test_what_may_be_meant_so_is_advice(cls, name, says):
    with pytest.raises(Advice) as caught:
        RUN[name](find(cls, ()).load())
    assert says in str(caught.value)


NOT_IMPORTED = [
    ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    ("raise SystemExit('stop')\n", "SystemExit: stop"),
    ("print('loading')\n1 / 0\n", "ZeroDivisionError"),
]


@pytest.mark.parametrize(("line", "says"), NOT_IMPORTED)
def test_what_cannot_be_imported_ends_there(tmp_path, capsys, line, says):
    plugin = tmp_path / "mine.py"
    plugin.write_text(f'{HEAD}{line}\n@register("mine")\nclass Mine(PruneAtInit):\n    pass\n')
    (finding,) = check("mine", (plugin,))
    assert (finding.name, finding.ok) == ("import", False)
    assert says in finding.message
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "    @dataclass(frozen=True)\n{}        rounds: int = 1 / 3\n",
            "rounds must be a literal",
        ),
        ("    paper = ' The paper'.strip()\n", "mine.py:8: paper must be a literal"),
    ],
)
def test_what_is_no_literal_is_an_error_not_a_finding(tmp_path, body, says):
    plugin = tmp_path / "mine.py"
    body = body.format("    class Hyper(PruneAtInit.Hyper):\n")
    plugin.write_text(f'{HEAD}@register("mine")\nclass Mine(PruneAtInit):\n{body}')
    with pytest.raises(BenchError, match=says):
        list(check("mine", (plugin,)))


def test_a_forgotten_decorator_is_caught_on_import(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        f'{HEAD}@register("mine")\nclass Mine(PruneAtInit):\n'
        "    class Hyper(PruneAtInit.Hyper):\n        rounds: int = 7\n"
    )
    (finding,) = check("mine", (plugin,))
    assert "rounds is 1, its source reads as 7; decorate Hyper" in finding.message


def test_a_plugin_is_checked_by_name(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        f'{HEAD}@register("mine")\nclass Mine(PruneAtInit):\n    """Keep large weights."""\n\n'
        "    needs_data = needs_labels = False\n\n    def scores(self, network, batches):\n"
        "        return {n: w.detach().abs() for n, w in prunable(network)}\n"
    )
    assert_conforms("mine", (plugin,))


def test_each_failed_check_is_a_line_of_the_assertion():
    with pytest.raises(AssertionError) as caught:
        assert_conforms(VersionZero)
    first, second = str(caught.value).splitlines()
    assert first == "version-zero does not conform:"
    assert second.startswith("declaration: VersionZero (")


def test_an_unknown_name_is_an_error_not_a_finding():
    with pytest.raises(BenchError, match="unknown method"):
        list(check("snpi"))


def test_a_class_must_stand_where_a_worker_can_import_it():
    class Local(Good):
        """Not registered, not at the top of a file."""

    with pytest.raises(BenchError, match='unknown method "Local"'):
        list(check(Local))
    with pytest.raises(BenchError, match="Nowhere is not defined in a file"):
        list(check(type("Nowhere", (Good,), {"__module__": "nowhere"})))


def test_global_state_is_as_before():
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    torch.set_num_threads(2)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    found = list(check(GlobalNumpy))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert threads == 2
    assert len(found) == len(CHECKS) + 1
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def test_the_digits_are_those_of_the_benchmark(settings):
    assert settings.data["digits"] == DIGITS
