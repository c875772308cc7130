"""Choices where paper and authors' code differ: each is an option that does what it says."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import pai_bench
from pai_bench.baselines.force import FORCE
from pai_bench.baselines.snip import SNIP
from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchWarning
from pai_bench.core.rng import RandomStreams
from pai_bench.registry import methods as registry
from pai_bench.sparsity.masks import prunable
from pai_bench.training.context import MethodContext

BATCHES = [
    (
        torch.randn(12, 5, generator=torch.Generator().manual_seed(1)).double(),
        torch.arange(12) % 3,
    )
]


def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()
    net[1].running_mean.uniform_(-1, 1)
    net[1].running_var.uniform_(0.5, 2)
    return net


def scores(cls, **hyper):
    context = MethodContext(0.5, Recipe(epochs=1, batch_size=1, lr=1.0), 3, RandomStreams(0))
    module = cls(network(), context, **hyper)
    return module.scores(network(), BATCHES)


def sensitivity(objective, train):
    """|w dL/dw|, by plain autograd."""
    net = network().train(train)
    loss = objective(net(BATCHES[0][0]), BATCHES[0][1])
    weights = [w for _, w in prunable(net)]
    return [(w * g).abs() for w, g in zip(weights, torch.autograd.grad(loss, weights), strict=True)]


def same(found, expected):
    pairs = zip(found.values(), expected, strict=True)
    return all(torch.allclose(a, b, rtol=1e-10) for a, b in pairs)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_snip_normalises_by_the_batch_or_by_running_statistics(mode):
    assert same(scores(SNIP, mode=mode), sensitivity(cross_entropy, mode == "train"))
    assert not same(scores(SNIP, mode=mode), sensitivity(cross_entropy, mode == "eval"))


def test_force_has_the_objective_of_its_paper_or_of_its_code():
    def minus_the_logit(logits, labels):
        return -logits.gather(1, labels[:, None]).mean()

    assert same(scores(FORCE), sensitivity(cross_entropy, True))
    assert same(scores(FORCE, objective="nll"), sensitivity(minus_the_logit, True))


def test_ntk_sap_starts_from_the_cells_weights_or_from_its_last_draw():
    cls = registry.load("ntk-sap")
    context = MethodContext(0.5, Recipe(epochs=1, batch_size=1, lr=1.0), 3, RandomStreams(0))
    ends = {}
    for start in ("initial", "last-draw"):
        net = network()
        module = cls(net, context, rounds=2, repeats=1, start=start)
        masks = module.sparsify(module.restrict_inputs(BATCHES))
        ends[start] = [w.clone() for _, w in prunable(net)], masks
    kept = [w for _, w in prunable(network())]
    assert all(torch.equal(a, b) for a, b in zip(ends["initial"][0], kept, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(ends["last-draw"][0], kept, strict=True))
    one, two = ends["initial"][1], ends["last-draw"][1]
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_last_draw_is_that_of_the_draws_object():
    drawn = {}

    class Draws:
        def weights(self, c, t, like):
            drawn[c, t] = torch.full_like(like, 0.1 * (c + 1))
            return drawn[c, t]

        def inputs(self, c, like):
            return torch.randn(like.shape, dtype=like.dtype)

        def perturbation(self, c, t, like):
            return torch.randn(like.shape, dtype=like.dtype)

    net = network()
    options = {"rounds": 2, "repeats": 3, "start": "last-draw", "draws": Draws()}
    with pytest.warns(BenchWarning, match="ntk-sap also chose weights to start from"):
        masks = pai_bench.prune(net, "ntk-sap", 0.5, BATCHES, **options)
    net.load_state_dict(masks.start, strict=False)
    for t, (_, weight) in enumerate(prunable(net)):
        assert torch.equal(weight, drawn[5, t])


@pytest.mark.parametrize("scope", ["global", "local"])
def test_snip_may_take_the_l2_term_into_the_loss(scope):
    """RigL's code: |w (g + c w)|, g by plain autograd."""
    recipe = Recipe(epochs=1, batch_size=1, lr=1.0, weight_decay=0.3)
    net, context = network(), MethodContext(0.5, recipe, 3, RandomStreams(0))
    images, labels = BATCHES[0]
    weights = dict(prunable(net))
    loss = cross_entropy(net(images), labels)
    loss = loss + 0.15 * sum(weight.square().sum() for weight in weights.values())
    gradients = torch.autograd.grad(loss, list(weights.values()))
    found = SNIP(network(), context, l2=True, scope=scope).scores(network(), BATCHES)
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        torch.testing.assert_close(found[name], (weight * gradient).abs().detach())


class Redrawn(list):
    """Batches that note the rounds that they were drawn for, with other images in each."""

    rounds = ()

    def afresh(self, number):
        Redrawn.rounds += (number,)
        images, labels = BATCHES[0]
        return Redrawn([(images.flip(1) * number, labels)])


@pytest.mark.parametrize("method", ["iterative-snip", "force", "snip"])
def test_batches_of_rounds_are_the_same_or_drawn_afresh(method, monkeypatch):
    monkeypatch.setattr(Redrawn, "rounds", ())
    fixed = pai_bench.prune(network(), method, 0.2, Redrawn(BATCHES), rounds=3)
    assert Redrawn.rounds == ()
    fresh = pai_bench.prune(
        network(), method, 0.2, Redrawn(BATCHES), rounds=3, score_batches="fresh"
    )
    assert Redrawn.rounds == (2, 3)
    assert any(not torch.equal(fixed[name], fresh[name]) for name in fixed)


def test_batches_that_are_a_list_stay_as_they_are():
    one, other = (
        pai_bench.prune(network(), "iterative-snip", 0.2, BATCHES, rounds=3, **hyper)
        for hyper in ({}, {"score_batches": "fresh"})
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
