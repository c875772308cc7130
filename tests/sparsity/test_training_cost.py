"""Training FLOPs by hand: masks that stay, that change, and gradients of all weights."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pai_bench import networks
from pai_bench.registry.methods import register
from pai_bench.sparsity.account import inference_flops, macs_by_layer
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.training_cost import TrainingCost, trained_flops
from pai_bench.training import build, fit
from pai_bench.training.module import SparseClassifier

MACS = {"a": 1000, "b": 100, "stem": 10}
TOTALS = {"a": 50, "b": 20}
DENSE = 2 * 1110
SPARSE = 2 * (1000 * 5 / 50 + 100 * 10 / 20 + 10)


def sparse_cost():
    cost = TrainingCost()
    cost.use({"a": 5, "b": 10})
    return cost


def test_a_static_mask_costs_three_times_its_inference():
    cost = sparse_cost()
    for images in (64, 64, 30):
        cost.count(images)
    assert cost.images == 158
    assert cost.flops(MACS, TOTALS) == pytest.approx(3 * SPARSE * 158)


@pytest.mark.parametrize("delta", [1, 100])
def test_rigl_with_an_extra_batch_for_each_update_costs_as_its_formula_says(delta):
    cost = sparse_cost()
    for step in range(5 * (delta + 1)):
        cost.count(64)
        if step % (delta + 1) == 0:
            cost.count(0, dense=64)
            cost.use({"a": 5, "b": 10})
    per_image = (3 * SPARSE * delta + 2 * SPARSE + DENSE) / (delta + 1)
    assert cost.flops(MACS, TOTALS) == pytest.approx(per_image * cost.images)
    assert len(cost.segments) == 1


def test_a_dense_gradient_at_every_step_costs_two_sparse_passes_and_a_dense_one():
    cost = sparse_cost()
    for _ in range(7):
        cost.count(64, dense=64)
    assert cost.flops(MACS, TOTALS) == pytest.approx((2 * SPARSE + DENSE) * 7 * 64)


def test_gradual_pruning_costs_the_mean_of_its_masks():
    cost, sparse = TrainingCost(), []
    for kept in (50, 30, 12, 5):
        cost.use({"a": kept, "b": 20})
        cost.count(64)
        sparse.append(2 * (1000 * kept / 50 + 110))
    assert cost.flops(MACS, TOTALS) == pytest.approx(3 * 256 * sum(sparse) / 4)
    assert len(cost.segments) == 4


def test_numbers_that_come_back_go_on_with_their_segment():
    cost = sparse_cost()
    cost.count(10)
    cost.use({"a": 50, "b": 20})
    cost.count(20)
    cost.use({"a": 5, "b": 10})
    cost.count(30, dense=30)
    assert cost.segments == {(5, 10): (40, 30), (50, 20): (20, 0)}


NETWORKS = {
    "lenet-300-100": ((1, 28, 28), ["fc1.weight"]),
    "lenet-5": ((1, 28, 28), ["conv1.weight"]),
    "resnet-20": ((3, 32, 32), ["0.weight"]),
    "wrn-22-2": ((3, 32, 32), ["conv1.weight"]),
}
"""Network -> shape of an input, and the layers that read it."""


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_counts_the_same_but_the_gradient_of_the_images(name, settings):
    """A layer that reads the images computes no gradient for them: 2 passes of it, not 3.

    MobileNet is no case of this: torch (2.13) counts the gradients of a depthwise convolution as if
    each channel read all others.
    """
    shape, readers = NETWORKS[name]
    network = networks.build(settings.networks[name], shape, 10).train()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, *shape)).sum().backward()
    macs, dense = macs_by_layer(network, shape), Masks.ones(network)
    whole = inference_flops(macs, dense)
    saved = 2 * sum(macs[reader] for reader in readers)
    assert counter.get_total_flops() == trained_flops(whole, whole, images=2) - 2 * saved


@register("halves-each-epoch")
class HalvesEachEpoch(SparseClassifier):
    """Keep everything, then the first half of each layer, then a quarter; look at all once."""

    when = "during"

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        if self.current_epoch:
            self.count_dense_gradient(100)
            self.set_masks(Masks({name: self.half(name) for name in self.masks}))

    def half(self, name):
        mask = self.masks[name]
        keep = int(mask.sum()) // 2
        return (torch.arange(mask.numel()) < keep).view(mask.shape)


def expected(network):
    """Three epochs of 1438 images at 1, 1/2, 1/4, two dense gradients of 100 images each."""
    macs = macs_by_layer(network, (1, 8, 8))
    total = 0.0
    for epoch in range(3):
        masks = {
            name: (torch.arange(weight.numel()) < weight.numel() >> epoch).view(weight.shape)
            for name, weight in prunable(network)
        }
        sparse = inference_flops(macs, Masks(masks))
        total += 3 * sparse * 1438 + (100 * (2 * sum(macs.values()) - sparse) if epoch < 2 else 0)
    return total


@pytest.fixture
def halving(quick, monkeypatch):
    """A cell that is pruned while it trains."""
    monkeypatch.setattr(build.registry, "load", lambda *_: HalvesEachEpoch)
    return quick(methods=("random",), densities=(0.1,), seeds=(1,), epochs=3)[0]


def test_a_cell_that_prunes_while_training_pays_for_the_masks_of_the_time(halving, settings):
    module = build.build_module(halving, settings, ())
    flops = fit.fit_cell(halving, settings).result.flops
    assert flops.training == pytest.approx(expected(module.network), rel=1e-12)
    assert flops.inference == pytest.approx(flops.inference_dense / 4, rel=1e-3)


def test_the_count_travels_in_checkpoints(halving, settings):
    one, other = (build.build_module(halving, settings, ()) for _ in range(2))
    one.training_cost.count(30)
    one.set_masks(Masks({name: one.half(name) for name in one.masks}))
    one.count_dense_gradient(8)
    checkpoint = {}
    one.on_save_checkpoint(checkpoint)
    other.on_load_checkpoint(checkpoint)
    other.training_cost.count(5)
    one.training_cost.count(5)
    assert other.training_cost.segments == one.training_cost.segments
    assert len(one.training_cost.segments) == 2


def test_the_count_of_the_network_starts_dense():
    layer = nn.Linear(3, 2)
    cost = TrainingCost()
    cost.use(Masks.ones(layer).kept_by_layer())
    cost.count(4)
    macs = macs_by_layer(layer, (3,))
    assert cost.flops(macs, Masks.ones(layer).weights_by_layer()) == 3 * 12 * 4
