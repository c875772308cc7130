"""Which weights are parameters of their own, and what a wrapper holds."""

import pytest
import torch
from torch import nn

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import Masks, left_out, prunable
from pai_bench.sparsity.ownership import check_prunable
from pai_bench.sparsity.wrappers import unwrapped


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))


def test_parts_of_one_flat_buffer_that_do_not_overlap_are_weights_of_their_own():
    net, flat = network(), torch.randn(40)
    net[0].weight.data, net[2].weight.data = flat[:16].view(4, 4), flat[16:32].view(4, 4)
    check_prunable(net)
    net[2].weight.data = flat[15:31].view(4, 4)
    with pytest.raises(BenchError, match=r"0\.weight and 2\.weight share their memory"):
        check_prunable(net)


def test_an_overlap_is_found_behind_a_smaller_one():
    net, flat = network(), torch.randn(16)
    net[0].weight.data = flat.view(4, 4)
    net[0].bias.data = flat[:4]
    net[3].bias.data = flat[14:]
    with pytest.raises(BenchError, match="share their memory"):
        check_prunable(net)


def test_looking_for_computed_weights_does_not_compute_them():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
    before = [buffer.clone() for buffer in layer.buffers()]
    with pytest.raises(BenchError, match="computed by a parametrization"):
        check_prunable(layer)
    assert before
    assert all(map(torch.equal, before, layer.buffers()))


def test_masks_are_applied_inside_of_wrappers():
    net, plain = network(), network()
    masks = Masks({n: torch.rand_like(w) < 0.5 for n, w in prunable(net)})
    wrapped = nn.DataParallel(torch.compile(net, backend="eager"))
    assert unwrapped(wrapped) is net
    masks.apply(wrapped)
    masks.apply(plain)
    assert all(map(torch.equal, net.parameters(), plain.parameters()))


def test_masks_of_another_network_are_refused_and_change_nothing():
    net = network()
    before = [parameter.clone() for parameter in net.parameters()]
    ones = dict(Masks.ones(net))
    for name, mask, says in (
        ("5.weight", torch.ones(2, 2) > 0, "no such parameter"),
        ("3.weight", torch.ones(3, 3) > 0, r"shape \(3, 3\), the weight has \(2, 4\)"),
    ):
        with pytest.raises(BenchError, match=says):
            Masks({**{n: ~m for n, m in ones.items()}, name: mask}).apply(net)
    assert all(map(torch.equal, before, net.parameters()))


def test_what_has_no_mask_is_listed_but_for_what_is_dense_on_purpose():
    net = nn.ModuleDict({"lstm": nn.LSTM(3, 2), "head": nn.Linear(2, 2), "dense": nn.Linear(2, 5)})
    net["dense"].prunable = False
    assert left_out(net) == {"lstm.weight_ih_l0": 24, "lstm.weight_hh_l0": 16}
    net["lstm"].prunable_parameters = ("weight_hh_l0",)
    assert [name for name, _ in prunable(net)] == ["lstm.weight_hh_l0", "head.weight"]
    assert left_out(net) == {"lstm.weight_ih_l0": 24}
