"""Slimming: its training is that of a plain loop; the filters of the largest scales stay whole."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pai_bench.baselines.slimming import Slimming, scales_by_layer
from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.networks.residual import BasicBlock
from pai_bench.sparsity.masks import prunable
from pai_bench.sparsity.select import kept_count
from pai_bench.training.context import MethodContext

RECIPE = Recipe(epochs=3, batch_size=8, lr=0.2, momentum=0.9, schedule="step", milestones=(2,))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def batches():
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(8, 1, 6, 6, generator=generator),
            torch.randint(0, 3, (8,), generator=generator),
        )
        for _ in range(5)
    ]


def masks(density=0.5, lam=0.05, sanity_check=""):
    context = MethodContext(density, RECIPE, 3, RandomStreams(1), sanity_check)
    return Slimming(network(), context, lam=lam).sparsify(batches())


def penalised(lam):
    """By hand: SGD, then a soft threshold of lr * lam on the scale of the batch norm."""
    net = network()
    sgd = torch.optim.SGD(net.parameters(), 0.2, momentum=0.9)
    for epoch in range(3):
        rate = sgd.param_groups[0]["lr"] = 0.2 if epoch < 2 else 0.02
        for images, labels in batches():
            sgd.zero_grad()
            cross_entropy(net(images), labels).backward()
            sgd.step()
            scale = net[1].weight.data
            net[1].weight.data = scale.sign() * (scale.abs() - rate * lam).clamp(min=0)
    return net


def test_filters_of_the_largest_scales_stay_whole_and_other_layers_keep_the_largest_weights():
    trained, found = penalised(0.05), masks()
    ranked = trained[1].weight.abs().argsort(descending=True)[:3]
    expected = torch.zeros(6, dtype=torch.bool)
    expected[ranked] = True
    assert torch.equal(found["0.weight"], expected.view(6, 1, 1, 1).expand(6, 1, 3, 3))
    for name in ("3.weight", "6.weight"):
        weight = dict(prunable(trained))[name].abs()
        kept = int(found[name].sum())
        assert kept == kept_count(weight.numel(), 0.5)
        assert weight[found[name]].min() >= weight[~found[name]].max()


def test_the_penalty_is_felt():
    free, strong = penalised(0.0), penalised(0.5)
    assert strong[1].weight.detach().abs().sum() < free[1].weight.detach().abs().sum()
    assert any(not torch.equal(m, masks(lam=0.5)[n]) for n, m in masks(lam=0.0).items())


def test_invert_keeps_the_filters_of_the_smallest_scales():
    ranked = penalised(0.05)[1].weight.abs().argsort()[:3]
    found = masks(sanity_check="invert")["0.weight"].flatten(1).all(1)
    assert set(found.nonzero().flatten().tolist()) == set(ranked.tolist())


def test_the_batch_norm_that_reads_a_convolution_is_found_in_residual_blocks_too():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), BasicBlock(4, 6, 2))
    net[1].eval()
    block = net[2]
    found = scales_by_layer(net, torch.randn(2, 1, 6, 6))
    norms = {id(m.weight): m for m in net.modules() if isinstance(m, nn.BatchNorm2d)}
    assert len(found) == len(norms) == len(prunable(net))
    assert len({id(scale) for scale in found.values()}) == len(norms)
    assert found["0.weight"] is net[1].weight
    assert all(len(found[name]) == len(weight) for name, weight in prunable(net))
    assert block.training
    assert not net[1].training


def test_a_negative_penalty_is_refused():
    with pytest.raises(BenchError, match="lam must be at least 0, got -1"):
        masks(lam=-1.0)
