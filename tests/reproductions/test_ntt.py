"""NTT's search as a method of the bench, and the baselines that its authors compared it with."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pai_bench
from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.networks import ntk
from pai_bench.registry import methods as registry
from pai_bench.reproductions.ntt import method as ntt_method
from pai_bench.reproductions.ntt.feed import Feed
from pai_bench.reproductions.ntt.method import NTT
from pai_bench.reproductions.ntt.student import Objective, Student
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.select import topk_masks
from pai_bench.training import fit
from pai_bench.training.callbacks.learning_curves import Diverged
from pai_bench.training.context import MethodContext
from pai_bench.training.module import SparseClassifier

RECIPE = Recipe(epochs=1, batch_size=8, lr=0.1)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))


def batches(count=5, size=8):
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(size, 6, generator=generator), None) for _ in range(count)]


def module(density=0.3, net=None, sanity_check="", **hyper):
    context = MethodContext(
        density,
        RECIPE,
        3,
        RandomStreams(1),
        sanity_check=sanity_check,
        other_start=lambda: network(seed=9),
    )
    return NTT(net or network(), context, **{"batch_size": 8, "steps": 12, **hyper})


def by_magnitude(parameters, names, density=0.3, **how):
    scores = {name: parameters[name].detach().abs() for name in names}
    return topk_masks(scores, density, **{"scope": "local", "rule": "above", **how})


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[n], other[n]) for n in one)


def by_hand(images, steps, every, start=None):
    """The search as its specification writes it down."""
    teacher = network()
    masks = start or by_magnitude(dict(teacher.named_parameters()), dict(prunable(teacher)))
    student = Student(teacher, masks, Objective(1e-3, 1e-4 / 0.3, "dense"), 5e-3)
    for step in range(1, steps + 1):
        student.step(images[(step - 1) % len(images)])
        if every and step % every == 0 and step < steps - every:
            student.set_masks(by_magnitude(student.parameters, student.masks))
    return student


@pytest.mark.parametrize("every", [3, 0])
def test_the_search_is_that_of_the_specification(every):
    images = [images for images, _ in batches()]
    expected = by_hand(images, 12, every)
    trained = module(lr=5e-3, update_every=every)
    masks = trained.sparsify(batches())
    assert same(masks, expected.masks)
    found = dict(trained.network.named_parameters())
    for name, value in expected.masked().items():
        assert torch.equal(found[name], value), name
    assert not same(masks, by_hand(images, 12, 4).masks)


def test_gradients_may_be_laid_out_in_another_way(monkeypatch):
    """As cuDNN does with those of convolutions; the fused step of Adam wants one layout."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)).eval()
    images = torch.randn(4, 3, 4, 4)

    def student():
        masks = Masks({n: torch.ones_like(w, dtype=torch.bool) for n, w in prunable(net)})
        return Student(net, masks, Objective(0.0, 1e-4, "dense"), 5e-3)

    plain, other = student(), student()
    given = other.gradients

    def laid_out(images):
        return {n: g.contiguous(memory_format=torch.channels_last) if g.ndim == 4 else g
                for n, g in given(images).items()}  # fmt: skip

    monkeypatch.setattr(other, "gradients", laid_out)
    for one in (plain, other):
        one.parameters["0.weight"] += 0.01  # away from the teacher, where gradients vanish
        one.step(images)
    assert other.parameters["0.weight"].grad.is_contiguous()
    assert same(plain.parameters, other.parameters)


def test_masks_last_move_before_the_last_interval():
    steps = [s for s in range(1, 13) if module(update_every=3)._is_update(s, 12)]
    assert steps == [3, 6]
    assert not any(module(update_every=0)._is_update(s, 12) for s in range(1, 13))


@pytest.mark.parametrize(
    ("hyper", "steps"), [({"steps": 7}, 7), ({"epochs": 3, "steps": 0, "batch_size": 16}, 9)]
)
def test_length_in_steps_or_in_epochs_rounded_up(monkeypatch, hyper, steps):
    taken = []
    monkeypatch.setattr(Student, "step", lambda _self, images: taken.append(len(images)))
    module(**hyper).sparsify(batches())
    assert len(taken) == steps
    assert set(taken) == {hyper.get("batch_size", 8)}


def test_progress_is_the_step_of_the_search():
    searching = module(steps=12)
    said = []
    searching.progress_callback, searching.progress_interval = said.append, 0
    searching.sparsify(searching.restrict_inputs(batches()))
    assert [message for message in said if message.startswith("step 7 of 12, ")]
    assert not said[0].startswith("step")


def test_transfer_sets_the_weights_that_training_starts_from():
    given = dict(network().named_parameters())
    arms = {arm: module(transfer=arm) for arm in ("mask+weights", "mask", "mask+fresh")}
    masks = [arm.sparsify(batches()) for arm in arms.values()]
    assert all(same(masks[0], other) for other in masks[1:])
    student = dict(arms["mask+weights"].network.named_parameters())
    assert all(not torch.equal(student[name], given[name]) for name in given)
    for name, mask in masks[0].items():
        assert float(student[name][~mask].detach().abs().max()) == 0
    for arm, expected in (("mask", network()), ("mask+fresh", network(seed=9))):
        found = arms[arm].network.state_dict()
        assert all(torch.equal(found[n], value) for n, value in expected.state_dict().items())


def test_fresh_weights_need_somebody_who_makes_them():
    context = MethodContext(0.3, RECIPE, 3, RandomStreams(1))
    with pytest.raises(BenchError, match="mask\\+fresh"):
        NTT(network(), context, steps=1, transfer="mask+fresh").sparsify(batches())


@pytest.mark.parametrize(
    ("hyper", "kept"),
    [
        ({}, [21, 10]),
        ({"selection": "exact"}, [22, 11]),
        ({"scope": "global"}, None),
        ({"tangent": "masked"}, [21, 10]),
        ({"kernel": 0.0}, [21, 10]),
    ],
)
def test_masks_keep_what_the_rule_says(hyper, kept):
    found = module(update_every=3, **hyper).sparsify(batches())
    assert found.kept == (sum(kept) if kept else 32)
    assert kept is None or list(found.kept_by_layer().values()) == kept


def test_first_masks_by_logit_snip():
    images = torch.cat([images for images, _ in batches()])
    expected = pai_bench.prune(network(), "logit-snip", 0.3, [(images, None)], scope="local")
    found = module(start="logit-snip", update_every=0).sparsify(batches())
    assert same(found, expected)


def test_inverted_the_smallest_weights_are_kept():
    found = module(sanity_check="invert", update_every=0).sparsify(batches())
    net = network()
    for name, mask in found.items():
        weight = dict(net.named_parameters())[name].detach().abs()
        assert float(weight[mask].max()) < float(weight[~mask].min())


def test_without_the_kernel_none_is_computed(monkeypatch):
    def fail(*_args, **_kwargs):
        raise AssertionError

    monkeypatch.setattr(ntt_method.History, "record", lambda _self, _step: None)
    monkeypatch.setattr("pai_bench.reproductions.ntt.student.outputs_and_kernel", fail)
    module(kernel=0.0).sparsify(batches())
    with pytest.raises(AssertionError):
        module().sparsify(batches())


def test_history_and_flops_are_those_of_the_search(monkeypatch):
    monkeypatch.setattr(ntt_method, "REPORT", 4)
    found = module(update_every=3)._search(batches())
    assert [row[0] for row in found.state["history"]] == [0, 4, 8, 12]
    first, last = found.state["history"][0], found.state["history"][-1]
    assert last[1] < first[1]
    assert last[2] < first[2]
    assert found.flops > 12 * 3 * 2 * 8 * (6 * 12 + 12 * 3)


@pytest.mark.parametrize("size", [64, 256])
def test_flops_are_those_of_the_steps_whatever_their_batches(size, monkeypatch):
    taken, step = [], Student.step

    def counted(student, images):
        with FlopCounterMode(display=False) as counter:
            step(student, images)
        taken.append(counter.get_total_flops())

    monkeypatch.setattr(Student, "step", counted)
    method = module(steps=3, batch_size=size)
    method.sparsify(batches(40))
    assert len(taken) == 3
    assert method.scoring_flops == sum(taken) > 0


def test_a_search_that_diverges_says_so():
    with pytest.raises(Diverged, match="in step 12"):
        module(lr=1e30).sparsify(batches())


@pytest.mark.parametrize(
    ("hyper", "says"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"steps": -1}, "steps must not be below 0"),
        ({"kernel": -1.0}, "kernel must not be below 0"),
        ({"lr": 0.0}, "lr must be above 0"),
    ],
)
def test_impossible_values_raise(hyper, says):
    with pytest.raises(BenchError, match=says):
        module(**hyper)


def test_one_image_is_too_few():
    with pytest.raises(BenchError, match="halves of a batch"):
        module().sparsify(batches(count=1, size=1))


class Orders:
    """Passes over 0..22 in batches of 8, each pass in another order, the last batch short."""

    def __init__(self):
        self.passes = []

    def __len__(self):
        return 3

    def __iter__(self):
        order = torch.randperm(23, generator=torch.Generator().manual_seed(len(self.passes)))
        self.passes.append(order)
        yield from ((part, None) for part in order.split(8))


@pytest.mark.parametrize("size", [3, 8, 10, 23, 64])
def test_batches_have_their_own_size_and_passes_are_not_mixed(size):
    source = Orders()
    feed = Feed(source, size)
    assert feed.images == 23
    assert feed.size == min(size, 23)
    assert torch.equal(feed.sample, source.passes[0])
    a_pass = 23 // feed.size
    taken = [images for images, _ in zip(feed, range(2 * a_pass), strict=False)]
    assert all(len(images) == feed.size for images in taken)
    for number in (0, 1):
        found = torch.cat(taken[number * a_pass : (number + 1) * a_pass])
        assert torch.equal(found, source.passes[number + 1][: len(found)])


class Witness(SparseClassifier):
    """Notes which labels it sees while it chooses masks."""

    trains_to_score = True
    seen: list[object] = []  # noqa: RUF012

    most_density = 1.0

    def sparsify(self, batches):
        self.seen[:] = [labels for _, labels in batches]
        self.trainer.datamodule.seconds += 1000
        return Masks.ones(self.network)


@pytest.mark.parametrize("needed", [True, False])
def test_methods_that_train_to_score_get_no_labels(needed, quick, settings, monkeypatch):
    monkeypatch.setattr(Witness, "needs_labels", needed)
    monkeypatch.setattr(registry, "load", lambda *_args: Witness)
    outcome = fit.fit_cell(
        quick(methods=("snip",), densities=(0.1,), seeds=(1,), epochs=1)[0], settings
    )
    assert outcome.result.status == "done", outcome.result.reason
    assert len(Witness.seen) == 23
    assert all((labels is not None) == needed for labels in Witness.seen)
    # Batches of the search are not taken for those of the training.
    assert outcome.result.seconds["train"] > 0
    assert outcome.result.seconds["data"] < 1000


def cell(quick, **hyper):
    found = quick(methods=("ntt",), densities=(0.1,), seeds=(1,), epochs=1)[0]
    return replace(found, hyper={"steps": 5, **hyper})


def test_a_cell_of_ntt_does_not_depend_on_labels(quick, settings):
    plain = cell(quick)
    one, other = (
        fit.fit_cell(c, settings) for c in (plain, replace(plain, sanity_check="random-labels"))
    )
    assert one.result.status == other.result.status == "done", one.result.reason
    assert same(one.masks, other.masks)
    assert one.curves == other.curves


def test_ways_to_use_a_search_share_it(quick, settings, tmp_path, monkeypatch):
    steps, step = [], Student.step
    monkeypatch.setattr(Student, "step", lambda *args: steps.append(1) or step(*args))
    arms = ("mask+weights", "mask", "mask+fresh")
    outcomes = [fit.fit_cell(cell(quick, transfer=arm), settings, runs=tmp_path) for arm in arms]
    alone = fit.fit_cell(cell(quick, transfer="mask"), settings)
    fit.fit_cell(cell(quick, kernel=0.0), settings, runs=tmp_path)
    fit.fit_cell(replace(cell(quick), density=0.2), settings, runs=tmp_path)
    assert len(steps) == 4 * 5
    assert all(same(outcomes[0].masks, outcome.masks) for outcome in outcomes)
    assert outcomes[1].curves == alone.curves != outcomes[2].curves != outcomes[0].curves
    assert outcomes[1].result.flops.scoring == alone.result.flops.scoring > 0


def test_scaled_random_divides_weights_by_the_root_of_the_density():
    context = MethodContext(0.25, RECIPE, 3, RandomStreams(1))
    scaled = registry.load("scaled-random")(network(), context)
    masks = scaled.sparsify([])
    assert same(masks, pai_bench.prune(network(), "random", 0.25, [], seed=1))
    for (name, one), other in zip(
        scaled.network.named_parameters(), network().parameters(), strict=True
    ):
        assert torch.allclose(one, other * (2 if name in masks else 1)), name


def test_shuffled_magnitude_moves_weights_along_one_axis():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.Flatten(), nn.Linear(64, 9))
    magnitude = pai_bench.prune(net, "magnitude", 0.2, [], scope="local")
    draws = [
        pai_bench.prune(net, "random", 0.2, [], seed=seed, scope="local", draw="shuffled-magnitude")
        for seed in (1, 2)
    ]
    for name, axis in (("0.weight", 2), ("2.weight", 1)):
        one, two = draws[0][name], draws[1][name]
        assert not torch.equal(one, two)
        assert not torch.equal(one, magnitude[name])
        assert torch.equal(one.sum(axis), magnitude[name].sum(axis))
        assert not torch.equal(one.sum(0), magnitude[name].sum(0))


def test_kernels_are_those_of_the_public_function():
    net, images = network(), batches()[0][0]
    student = Student(net, Masks.ones(net), Objective(1.0, 0.0, "dense"), 1e-3)
    with torch.no_grad():
        half = {name: 0.5 * p for name, p in net.named_parameters()}
        found = student.distances(half, images)
        kernels = [
            ntk.empirical_ntk(net, images[:4], images[4:], parameters=p) for p in (half, None)
        ]
    expected = (kernels[0] - kernels[1]).square().mean()
    assert torch.allclose(found.kernel, expected)
