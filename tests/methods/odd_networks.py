"""Networks and batches that are odd in one way each, and ordinary ones."""

import random
import threading
import types
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """The ordinary network: two layers."""

    def __init__(self, inputs=6, hidden=10, classes=4):
        super().__init__()
        self.a, self.b = nn.Linear(inputs, hidden), nn.Linear(hidden, classes)

    def forward(self, x):
        return self.b(self.a(x).relu())


def seeded(make, *args, **kwargs):
    torch.manual_seed(3)
    return make(*args, **kwargs)


def net():
    return seeded(Net)


def images(count=8, width=6):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(4))


def labels(count=8, classes=4):
    return torch.arange(count) % classes


def ordinary():
    return [(images(), labels()), (images().flip(0) * 2, labels().roll(1))]


class Forward(Net):
    """The ordinary network with another forward pass."""

    def __init__(self, forward, **sizes):
        super().__init__(**sizes)
        self.own = forward

    def forward(self, x):
        return self.own(self, x)


def forward(call, **sizes):
    """A network of this forward pass, which uses its argument `self`, as a class would."""
    return lambda: seeded(Forward, call, **sizes)


def changed(change, make=net):
    """The ordinary network after a change of it."""

    def build():
        network = make()
        result = change(network)
        return network if result is None else result

    return build


def with_batches(change):
    return lambda: [change(x, y) for x, y in ordinary()]


def keeps(net, x):
    net.kept = net.a(x).relu()
    net.all = [net.kept, {"again": net.kept}]
    return net.b(net.kept)


def ran(network):
    """Run it once, as a user would have."""
    network(images())


def closed(network):
    a, b = network.a, network.b
    network.forward = lambda x: b(a(x).relu())


def bound(network):
    network.forward = types.MethodType(lambda self, x: self.b(self.a(x).relu()), network)


def checkpointed(reentrant):
    def call(net, x):
        if reentrant:
            x = x.requires_grad_()
        hidden = checkpoint(lambda x: net.a(x).relu(), x, use_reentrant=reentrant)
        return net.b(hidden)

    return call


def in_place(net, x):
    return net.b(net.a(x.sub_(0.5)).relu_())


def half_last(net, x):
    return net.b(net.a(x).relu().to(net.b.weight.dtype)).to(x.dtype)


def to_half_last(network):
    network.b.bfloat16()


def inference_built():
    with torch.inference_mode():
        return net()


def freeze(network):
    network.requires_grad_(False)


class Tokens(Net):
    """An embedding before the ordinary network."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 6)

    def forward(self, ids):
        return super().forward(self.embedding(ids).mean(1))


def ids():
    return [(torch.arange(24).view(8, 3) % 5, labels())]


def embedded():
    network = seeded(Tokens)
    return [(network.embedding(x).mean(1).detach(), y) for x, y in ids()]


def token_net():
    network = seeded(Tokens)
    del network.embedding
    plain = Net()
    plain.load_state_dict(network.state_dict())
    return plain


class Two(Net):
    """The ordinary network with its input in two parts."""

    def forward(self, left, right):
        return super().forward(torch.cat([left, right], 1))


class One(Net):
    """The same with both in one argument."""

    def forward(self, parts):
        return super().forward(torch.cat([parts["left"], parts["right"]], 1))


def halves(make):
    return with_batches(lambda x, y: (make(x[:, :3].clone(), x[:, 3:].clone()), y))


class Raw(nn.Module):
    """The ordinary network with matrices of its own."""

    def __init__(self):
        super().__init__()
        plain = Net()
        self.a, self.shift = nn.Parameter(plain.a.weight.data), nn.Parameter(plain.a.bias.data)
        self.b, self.bias = nn.Parameter(plain.b.weight.data), nn.Parameter(plain.b.bias.data)

    def forward(self, x):
        return functional.linear(functional.linear(x, self.a, self.shift).relu(), self.b, self.bias)


class Sequence(nn.Module):
    """A recurrent network, and a linear layer."""

    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.rnn, self.head = kind(3, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Unrolled(nn.Module):
    """The same recurrent network, step by step, of linear layers."""

    def __init__(self):
        super().__init__()
        source = seeded(Sequence, nn.RNN)
        self.input, self.state, self.head = nn.Linear(3, 5), nn.Linear(5, 5), source.head
        for layer, key in ((self.input, "ih"), (self.state, "hh")):
            layer.weight.data = getattr(source.rnn, f"weight_{key}_l0").data
            layer.bias.data = getattr(source.rnn, f"bias_{key}_l0").data

    def forward(self, x):
        state = x.new_zeros(len(x), 5)
        for step in x.unbind(1):
            state = (self.input(step) + self.state(state)).tanh()
        return self.head(state)


class Attention(nn.Module):
    """Attention after a linear layer."""

    def __init__(self):
        super().__init__()
        self.first, self.attend = nn.Linear(3, 4), nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 4)

    def forward(self, x):
        x = self.first(x)
        return self.head(self.attend(x, x, x, need_weights=False)[0].mean(1))


def sequences():
    return [(images(8, 12).view(8, 4, 3), labels())]


class Pictures(nn.Module):
    """Convolutions and a layer of another kind between them."""

    def __init__(self, middle):
        super().__init__()
        self.conv, self.middle, self.head = nn.Conv2d(1, 3, 3, padding=1), middle(), nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self.middle(self.conv(x).relu()).relu().mean((2, 3)))


def pictures():
    return [(images(8, 36).view(8, 1, 6, 6), labels())]


def normed(**options):
    return seeded(nn.Sequential, nn.Linear(6, 10), nn.BatchNorm1d(10, **options), nn.ReLU(),
                  nn.Linear(10, 4))  # fmt: skip


def chances(net, x):
    scale = 1 + random.random() + float(np.random.rand()) + float(torch.rand(()))
    return net.b(net.a(x).relu()) * scale


def mean_square(outputs, labels):
    return functional.mse_loss(outputs[:, 0], labels.float())


def tie(network):
    network.b.weight = network.a.weight


def square(forward=None):
    return seeded(Net, 6, 6, 6)


def share_memory(network):
    network.b.weight.data = network.a.weight.data


def expand(network):
    network.a.weight.data = torch.ones(1, 1).expand(10, 6)


def nan_last(network):
    network.b.weight.data[1, 2] = float("nan")


def constant(network):
    for parameter in network.parameters():
        parameter.data.fill_(0.5)


def parametrized(how):
    def change(network):
        network.a = how(network.a)

    return changed(change)


@dataclass
class Answer:
    """What some libraries return."""

    logits: torch.Tensor


class Spare(Net):
    """A layer that no pass uses."""

    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(3, 3)


def locked(network):
    network.lock = threading.Lock()


def opened(network):
    network.a.stream = (number for number in range(3))


def lazy():
    return seeded(nn.Sequential, nn.LazyLinear(10), nn.ReLU(), nn.Linear(10, 4))


def lazy_run():
    network = lazy()
    network(images())
    return network


def sequential():
    network = net()
    return nn.Sequential(network.a, nn.ReLU(), network.b)


def default_device():
    return torch.device("meta")


def inference_inputs():
    with torch.inference_mode():
        return ordinary()


def loader():
    x, y = (torch.cat(parts) for parts in zip(*ordinary(), strict=True))
    return DataLoader(TensorDataset(x, y), batch_size=8)
