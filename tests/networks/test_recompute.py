"""Activations that are computed twice change nothing but the memory that scoring takes."""

import pytest
import torch
from torch import nn

from pai_bench.core.rng import RandomStreams
from pai_bench.networks import recompute
from pai_bench.networks.recompute import recompute_activations
from pai_bench.networks.residual import BasicBlock
from pai_bench.registry import methods as registry
from pai_bench.training.context import MethodContext


def network():
    torch.manual_seed(0)
    stage = nn.Sequential(BasicBlock(4, 4, 1), BasicBlock(4, 8, 2))
    stem = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
    return nn.Sequential(*stem, stage, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def scores(method, settings, **hyper):
    recipe = settings.recipes["ntk-sap-cifar10"]
    module = registry.load(method)(
        network(), MethodContext(0.2, recipe, 5, RandomStreams(1)), **hyper
    )
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, 3, 8, 8, generator=generator)
    found, keep = {}, module.keep
    module.keep = lambda scored: found.update(scored) or keep(scored)
    masks = module.sparsify(module.restrict_inputs([(images, torch.arange(16) % 5)]))
    return found, masks


def test_scores_of_large_batches_are_the_same_bit_by_bit(settings, monkeypatch):
    kept, _ = scores("snip", settings)
    calls = []
    checkpoint = recompute.checkpoint
    monkeypatch.setattr(recompute, "LARGE", 0)
    monkeypatch.setattr(
        recompute, "checkpoint", lambda *a, **k: calls.append(1) or checkpoint(*a, **k)
    )
    recomputed, _ = scores("snip", settings)
    assert len(calls) >= 4
    assert all(torch.equal(kept[name], recomputed[name]) for name in kept)


@pytest.mark.parametrize(
    ("method", "hyper"), [("ntk-sap", {"rounds": 1, "repeats": 1}), ("grasp", {})]
)
def test_scores_of_large_batches_are_the_same_within_rounding(method, hyper, settings, monkeypatch):
    """NTK-SAP sums over pieces, GraSP goes forward through the Hessian."""
    whole, masks = scores(method, settings, **hyper)
    monkeypatch.setattr(recompute, "LARGE", 0)
    found, same = scores(method, settings, **hyper)
    assert any(not torch.equal(found[name], score) for name, score in whole.items())
    for name, score in whole.items():
        near = {"rtol": 1e-3, "atol": 1e-5 * float(score.abs().max())}
        torch.testing.assert_close(found[name], score, **near)
    assert same.digest() == masks.digest()


def test_less_is_kept_for_the_backward_pass():
    def kept(of):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, id):
            of(torch.randn(4, 3, 8, 8))
        return sum(sizes)

    plain, frugal = network(), network()
    recompute_activations(frugal)
    assert kept(frugal) < 0.6 * kept(plain)


def test_blocks_that_may_change_their_inputs_and_those_of_others_keep_their_activations():
    class Foreign(nn.Linear):
        pass

    chain = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True), Foreign(2, 2))
    recompute_activations(chain)
    assert [type(block).forward is kind.forward for block, kind in zip(
        chain, (nn.Linear, nn.ReLU, Foreign), strict=True)] == [False, True, True]  # fmt: skip
    once = type(chain[0])
    recompute_activations(chain)
    assert type(chain[0]) is once
