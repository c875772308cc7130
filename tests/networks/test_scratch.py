"""A scratch copy is what copy.deepcopy makes."""

import copy

import pytest
import torch
from torch import nn

from pai_bench import networks
from pai_bench.core.errors import BenchError
from pai_bench.networks.scratch import scratch_copy

SHAPES = {"lenet-300-100": (1, 28, 28), "resnet-20": (3, 32, 32), "mobilenet-v1": (3, 32, 32)}


class Odd(nn.Module):
    """All that a network may hold beside layers."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
        self.two.weight = self.one.weight
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        whole = torch.arange(4.0)
        self.register_buffer("whole", whole)
        self.register_buffer("part", whole[:2])
        self.register_buffer("column", torch.ones(2, 3).T)
        self.register_buffer("spread", torch.ones(1).expand(3))
        self.register_buffer("unsaved", torch.ones(1), persistent=False)
        self.register_buffer("nothing", None)
        self.register_buffer("gaps", torch.eye(2).to_sparse())
        self.plain, self.notes, self.sizes = torch.ones(2), [{"by": [1]}], (1, [2])
        self.parts = {self.one: "first"}
        self.me = [self]
        self.one.register_forward_hook(self.seen)
        self.eval()

    def seen(self, *_):
        self.notes.append("seen")

    def forward(self, inputs):
        return self.two(self.one(inputs))


class OwnWay(nn.Linear):
    def __deepcopy__(self, memo):
        return "a copy of its own"


class Stateful(nn.Linear):
    def __getstate__(self):
        return {**vars(self), "copied": True}


@pytest.fixture
def odd():
    return Odd()


def storages(network):
    tensors = [*network.parameters(), *network.buffers()]
    return {t.untyped_storage().data_ptr() for t in tensors if t.layout is torch.strided}


@pytest.mark.parametrize("name", SHAPES)
def test_copies_are_equal_and_share_nothing(settings, name):
    network = networks.build(settings.networks[name], SHAPES[name], 10).double().eval()
    twin, expected = scratch_copy(network), copy.deepcopy(network)
    assert repr(twin) == repr(expected)
    assert not storages(twin) & storages(network)
    for (key, tensor), (other_key, other) in zip(
        twin.state_dict().items(), expected.state_dict().items(), strict=True
    ):
        assert key == other_key
        assert tensor.dtype == other.dtype
        assert torch.equal(tensor, other)
    for ours, theirs in zip(twin.modules(), expected.modules(), strict=True):
        assert type(ours) is type(theirs)
        assert vars(ours).keys() == vars(theirs).keys()
        assert ours.training == theirs.training


def test_what_belongs_together_stays_together(odd):
    twin = scratch_copy(odd)
    assert twin.two.weight is twin.one.weight is not odd.one.weight
    assert twin.me[0] is twin
    assert list(twin.parts) == [twin.one]
    twin.part.fill_(7)
    assert twin.whole.tolist() == [7, 7, 2, 3]
    assert odd.whole.tolist() == [0, 1, 2, 3]


def test_tensors_keep_their_kind(odd):
    twin, expected = scratch_copy(odd), copy.deepcopy(odd)
    assert not storages(twin) & storages(odd)
    for name, buffer in expected.named_buffers():
        assert buffer.layout == getattr(twin, name).layout
        assert torch.equal(buffer.to_dense(), getattr(twin, name).to_dense())
        if buffer.layout is torch.strided:
            assert buffer.stride() == getattr(twin, name).stride()
    assert type(twin.frozen) is nn.Parameter
    assert not twin.frozen.requires_grad
    assert twin.one.weight.requires_grad
    assert "unsaved" not in twin.state_dict()


def test_whatever_is_done_to_a_copy_the_network_stays(odd):
    twin = scratch_copy(odd)
    twin.train().double()
    twin.plain.zero_()
    twin.notes[0]["by"].append(2)
    twin.sizes[1].append(3)
    twin.one.register_forward_hook(lambda *_: None)
    twin.two = nn.Identity()
    twin(torch.ones(1, 2, dtype=torch.float64))
    assert twin.notes[-1] == "seen"
    assert odd.notes == [{"by": [1]}]
    assert odd.sizes == (1, [2])
    assert odd.plain.tolist() == [1, 1]
    assert len(odd.one._forward_hooks) == 1
    assert not any(module.training for module in odd.modules())
    assert odd.two.weight.dtype == torch.float32


def test_modules_with_a_way_of_their_own_are_copied_in_it():
    assert scratch_copy(nn.Sequential(nn.ReLU(), nn.ModuleList([OwnWay(1, 1)])))[1][0] == (
        "a copy of its own"
    )
    assert scratch_copy(nn.Sequential(Stateful(1, 1)))[0].copied


class Keeps(nn.Linear):
    """Keeps its activations, alone and in containers."""

    def forward(self, inputs):
        self.kept = super().forward(inputs)
        self.more = [self.kept, {"one": (self.kept.relu(),)}]
        return self.kept


def test_activations_are_copied_without_their_graph():
    network = Keeps(2, 2)
    network(torch.ones(1, 2))
    twin = scratch_copy(network)
    assert torch.equal(twin.kept, network.kept)
    assert twin.kept.is_leaf
    assert twin.more[0] is twin.kept
    assert torch.equal(twin.more[1]["one"][0], network.more[1]["one"][0])


def test_a_copy_of_a_compiled_network_runs_its_own_layers():
    network = nn.Linear(2, 2)
    network.compile(backend="eager")
    twin = scratch_copy(network)
    with torch.no_grad():
        twin.weight.zero_()
        assert torch.equal(twin(torch.ones(1, 2))[0], network.bias)


def test_what_cannot_be_copied_is_named():
    network = nn.Sequential(nn.Linear(2, 2))
    network[0].numbers = (n for n in range(3))
    with pytest.raises(BenchError, match="attribute numbers of a Linear cannot be copied"):
        scratch_copy(network)
