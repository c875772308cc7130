"""Batch norm by parts of a batch, in one process; on several: training/test_ranks.py."""

import copy

import pytest
import torch
from torch import nn

from pai_bench.core.errors import BenchError
from pai_bench.networks.batch_norm import (
    check_parts,
    check_pieces,
    normalise_as_usual,
    normalise_in_parts,
)
from pai_bench.training.pieces import Pieces

KINDS = [(nn.BatchNorm1d, ()), (nn.BatchNorm1d, (3,)), (nn.BatchNorm2d, (3, 2)),
         (nn.BatchNorm3d, (2, 2, 2))]  # fmt: skip


@pytest.mark.parametrize(("kind", "size"), KINDS)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_each_part_is_normalised_as_a_batch_of_its_own(kind, size, momentum):
    plain, inputs = kind(4, momentum=momentum), torch.randn(9, 4, *size)
    norm = copy.deepcopy(plain)
    normalise_in_parts(norm, 2, Pieces())
    for _ in range(2):
        found = norm(inputs)
        first = plain(inputs[:4])
    rest = copy.deepcopy(plain)(inputs[4:])
    torch.testing.assert_close(found, torch.cat([first, rest]))
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.running_var, plain.running_var)
    assert norm.num_batches_tracked == plain.num_batches_tracked
    torch.testing.assert_close(norm.eval()(inputs), plain.eval()(inputs))


def test_layers_keep_their_state_and_become_again_what_they_were():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(1))
    weight, names = network[1].weight, list(network.state_dict())
    normalise_in_parts(network, 3, Pieces())
    assert isinstance(network[1], nn.BatchNorm2d)
    assert network[1].weight is weight
    assert list(network.state_dict()) == names
    normalise_as_usual(network)
    assert type(network[1]) is nn.BatchNorm2d
    assert vars(network[1]).keys() == vars(nn.BatchNorm2d(2)).keys()


def test_parts_are_spread_over_devices_evenly_or_not_at_all():
    check_parts(1, 3), check_parts(6, 3)
    with pytest.raises(BenchError, match="batch_norm_parts 4 cannot be spread over 3 devices"):
        check_parts(4, 3)


def test_a_piece_holds_whole_parts_or_is_refused():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    check_pieces(network, 4, ranks=2, pieces=2), check_pieces(network[:1], 1, ranks=1, pieces=9)
    with pytest.raises(BenchError, match="--set batch_norm_parts=4 does"):
        check_pieces(network, 2, ranks=2, pieces=2)
    with pytest.raises(BenchError, match="statistics of 1 part of a batch"):
        check_pieces(network, 1, ranks=1, pieces=2)
