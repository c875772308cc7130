"""Proximal SGD: its training is that of a plain loop; masks keep the largest weights of it."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pai_bench.baselines.proximal import Proximal, ProximalFilters
from pai_bench.baselines.random_filters import RandomFilters
from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.sparsity.masks import prunable
from pai_bench.sparsity.select import kept_count
from pai_bench.training.context import MethodContext

RECIPE = Recipe(epochs=4, batch_size=8, lr=0.2, momentum=0.9, schedule="step", milestones=(3,))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))


def batches():
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(8, 1, 6, 6, generator=generator),
            torch.randint(0, 3, (8,), generator=generator),
        )
        for _ in range(5)
    ]


def penalised(lam, groups):
    """By hand: SGD, then the proximal map of lr * lam * penalty."""
    net = network()
    sgd = torch.optim.SGD(net.parameters(), 0.2, momentum=0.9)
    for epoch in range(4):
        rate = sgd.param_groups[0]["lr"] = 0.2 if epoch < 3 else 0.02
        for images, labels in batches():
            sgd.zero_grad()
            cross_entropy(net(images), labels).backward()
            sgd.step()
            for _, w in prunable(net):
                w.data = prox(w.data, rate * lam, groups)
    return net


def prox(weight, by, groups):
    if groups and weight.dim() > 2:
        rows = []
        for row in weight.unbind():
            limit, norm = by * row.numel() ** 0.5, row.norm()
            rows.append(row * (1 - limit / norm) if norm > limit else torch.zeros_like(row))
        return torch.stack(rows)
    return weight.sign() * (weight.abs() - by).clamp(min=0)


def module(cls, density=0.3, sanity_check="", **hyper):
    return cls(
        network(), MethodContext(density, RECIPE, 3, RandomStreams(1), sanity_check), **hyper
    )


@pytest.mark.parametrize(("cls", "groups"), [(Proximal, False), (ProximalFilters, True)])
@pytest.mark.parametrize("lam", [0.0, 0.1, 0.2])
def test_training_is_that_of_a_plain_loop(cls, groups, lam):
    found = module(cls, lam=lam)._penalised(batches())
    net = penalised(lam, groups)
    for name, weight in prunable(net):
        assert torch.allclose(found.state["weights"][name], weight.detach(), atol=1e-6), name
    zeros = sum(int((weight == 0).sum()) for _, weight in prunable(net))
    assert (zeros > 0) == (lam > 0), "the penalty is to show"
    assert found.flops == 6 * 4 * 40 * (54 * 16 + 288)


def test_the_largest_weights_are_kept():
    found = module(Proximal, lam=0.02).sparsify(batches())
    flat = torch.cat([w.detach().abs().flatten() for _, w in prunable(penalised(0.02, False))])
    kept = torch.cat([mask.flatten() for mask in found.values()])
    assert found.kept == kept_count(len(flat), 0.3)
    assert flat[kept].min() >= flat[~kept].max()


def test_the_smallest_can_be_asked_for():
    best = module(Proximal, 0.5).sparsify(batches())
    worst = module(Proximal, 0.5, "invert").sparsify(batches())
    assert not any((best[name] & worst[name]).any() for name in best)


@pytest.mark.parametrize("cls", [ProximalFilters, RandomFilters])
@pytest.mark.parametrize("scope", ["global", "local"])
def test_filters_are_kept_whole(cls, scope):
    found = module(cls, 0.5, scope=scope).sparsify(batches())
    conv = found["0.weight"]
    assert all(len(filter_.unique()) == 1 for filter_ in conv)
    assert found.kept <= kept_count(found.total, 0.5)
    assert scope == "global" or conv.float().mean() == 0.5


def test_random_filters_differ_from_seed_to_seed():
    masks = [
        RandomFilters(network(), MethodContext(0.4, RECIPE, 3, RandomStreams(seed))).sparsify([])
        for seed in (1, 1, 2)
    ]
    assert all(torch.equal(masks[0][n], masks[1][n]) for n in masks[0])
    assert not torch.equal(masks[0]["3.weight"], masks[2]["3.weight"])


def test_a_negative_penalty_is_refused():
    with pytest.raises(BenchError, match="lam must be at least 0"):
        module(Proximal, lam=-1.0)
