"""Networks that break what the fast kernels assume: the kernel of the Jacobian, or one line."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pai_bench import empirical_ntk
from pai_bench.core.errors import BenchError


class Free(nn.Module):
    """Three layers, and a forward pass of one's own."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.own = forward

    def forward(self, x):
        return self.own(self, x)


class Standardised(nn.Linear):
    """A subclass that computes its weight."""

    def forward(self, x):
        return functional.linear(x, self.weight - self.weight.mean(1, keepdim=True), self.bias)


class Doubled(nn.Sequential):
    """A container that does more than to call its layers."""

    def forward(self, x):
        return 2 * super().forward(x)


def chain(change=lambda layers: None):
    layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 3))
    change(layers)
    return layers


def tied(layers):
    layers[2].weight = layers[0].weight


def hooked(layers):
    layers[0].register_forward_hook(lambda layer, inputs, output: output * 3)


def replaced(layers):
    first = layers[0]
    first.forward = lambda x: functional.linear(x, first.weight * 2, first.bias)


NETWORKS = {
    "tied": lambda: chain(tied),
    "tied, no chain": lambda: nn.ModuleDict({"all": chain(tied)})["all"].append(nn.Tanh()),
    "subclass": lambda: nn.Sequential(Standardised(4, 5), nn.ReLU(), nn.Linear(5, 3)),
    "container": lambda: Doubled(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)),
    "hook": lambda: chain(hooked),
    "forward replaced": lambda: chain(replaced),
    "weight used outside of its layer": lambda: Free(
        lambda net, x: net.c(functional.linear(net.a(x).relu(), net.a.weight)).tanh()
    ),
    "inputs by name": lambda: Free(lambda net, x: net.c(net.b(input=net.a(x).relu()).tanh())),
    "parametrization": lambda: nn.Sequential(
        nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 3)
    ),
    "PReLU": lambda: nn.Sequential(nn.Linear(4, 5), nn.PReLU(5), nn.Linear(5, 3)),
    "checkpoint": lambda: Free(
        lambda net, x: net.c(checkpoint(net.a, x, use_reentrant=False).tanh())
    ),
    "nothing odd": lambda: Free(lambda net, x: net.c(net.b(net.a(x).relu()).tanh())),
}
REFUSED = {
    "dropout": (lambda net, x: net.c(functional.dropout(net.a(x))), "draws at random"),
    "tuple": (lambda net, x: (net.c(net.a(x)), x), "returns a tuple"),
    "image": (lambda net, x: net.c(net.a(x))[..., None, None], r"\(n, k\): flatten them"),
}


def images():
    return torch.randn(4, 4, generator=torch.Generator().manual_seed(1)).double()


def jacobian(network, inputs):
    """Of one output of one image after the other."""
    rows = []
    for image in inputs:
        for output in network(image[None])[0]:
            weights = list(network.parameters())
            found = torch.autograd.grad(output, weights, retain_graph=True, materialize_grads=True)
            rows.append(torch.cat([gradient.flatten() for gradient in found]))
    return torch.stack(rows).unflatten(0, (len(inputs), -1))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_kernel_is_that_of_the_jacobian(name):
    torch.manual_seed(0)
    network, inputs = NETWORKS[name]().double().eval(), images()
    found = empirical_ntk(network, inputs[:2], inputs[2:])
    one, two = jacobian(network, inputs[:2]), jacobian(network, inputs[2:])
    assert torch.allclose(found, torch.einsum("iap,jbp->ijab", one, two), rtol=1e-9, atol=1e-12)


def test_gradients_flow_through_a_jacobian_that_is_not_vectorised():
    network, inputs = NETWORKS["PReLU"]().double().eval(), images()
    names = [name for name, _ in network.named_parameters()]

    def trace(*values):
        parameters = dict(zip(names, values, strict=True))
        kernel = empirical_ntk(network, inputs[:2], inputs[2:], parameters=parameters)
        return torch.einsum("ijaa->", kernel)

    values = tuple(p.detach().clone().requires_grad_() for p in network.parameters())
    assert torch.autograd.gradcheck(trace, values)


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_such_kernel_is_refused_in_one_line(name):
    forward, says = REFUSED[name]
    network, inputs = Free(forward).double().eval(), images()
    with pytest.raises(BenchError, match=says) as error:
        empirical_ntk(network, inputs[:2], inputs[2:])
    assert "\n" not in str(error.value)


def test_a_network_that_mixes_images_is_told_by_a_comparison():
    network = Free(lambda net, x: net.c(net.a(x) - net.a(x).mean(0))).double().eval()
    one, two = images().split(2)
    empirical_ntk(network, one, two)
    with pytest.raises(BenchError, match=r"from that of the full Jacobian"):
        empirical_ntk(network, one, two, verify=True)
    empirical_ntk(chain().double().eval(), one, two, verify=True)
