"""The tangent kernel against Jacobians that are written out, output by output."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pai_bench.core.errors import BenchError
from pai_bench.methods.conformance.problems import Branches, resnet
from pai_bench.networks import ntk
from pai_bench.networks.lenet import lenet_5
from pai_bench.networks.ntk import chain, hooks, layers
from pai_bench.networks.ntk.spectrum import eigenvalues
from pai_bench.sparsity.masks import Masks, prunable

N1, N2, K = 3, 2, 4


class Shared(nn.Module):
    """One layer at two places, and one at every step of a sequence."""

    def __init__(self):
        super().__init__()
        self.steps, self.twice, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, K)

    def forward(self, x):
        hidden = self.steps(x.flatten(2)).relu().mean(1)
        return self.head(self.twice(self.twice(hidden).relu()))


class Padded(nn.Module):
    """What the chain leaves to hooks: padding by reflection, in place, one dimension."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")
        self.line = nn.Conv1d(3, 5, 3, stride=2, dilation=2, padding="valid")
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(5, K)

    def forward(self, x):
        hidden = self.relu(self.conv(x))
        return self.head(self.relu(self.line(hidden.flatten(2))).mean(2))


def tiny_cnn(shape=None, classes=3):
    """That of NTT's reference vectors."""
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, classes),
    )  # fmt: skip


def strides():
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=2, padding=(1, 0), dilation=(2, 1)), nn.ReLU(),
        nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(4, 6, 2, groups=2, bias=False),
        nn.BatchNorm2d(6), nn.Sequential(nn.ReLU(), nn.Dropout(0.5)), nn.Flatten(),
        nn.LazyLinear(5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, K, bias=False),
    )  # fmt: skip


NETWORKS = {
    "mlp": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, K)),
        (2, 2, 2),
        ("chain", "hooks"),
    ),
    "tiny cnn": (tiny_cnn, (2, 10, 10), ("chain", "hooks")),
    "strides, groups, batch norms": (strides, (2, 9, 8), ("chain", "hooks")),
    "residual": (lambda: resnet((3, 6, 6), K), (3, 6, 6), ("hooks",)),
    "branches": (lambda: Branches((3, 6, 6), K), (3, 6, 6), ("hooks",)),
    "shared": (Shared, (3, 2, 2), ("hooks",)),
    "padded": (Padded, (2, 4, 4), ("hooks",)),
    "layer norm": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.LayerNorm(6), nn.Linear(6, K)),
        (2, 2, 2),
        (),
    ),
}


def made(name):
    """A network of random weights and statistics in float64, inputs, and the ways it can take."""
    build, shape, ways = NETWORKS[name]
    torch.manual_seed(3)
    net = build().double().eval()
    images = torch.randn(N1 + N2, *shape, dtype=torch.float64)
    net(images)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape))
        for module in net.modules():
            if isinstance(module, layers.NORMS):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return net, images, (*ways, "jacobian")


def near(one, two, what=""):
    """Equal to rounding, in units of the largest entry."""
    assert one.shape == two.shape, what
    one, two = one.detach(), two.detach()
    assert float((one - two).abs().max()) <= 1e-12 * max(1.0, float(two.abs().max())), what


def dropped(net, density=0.4):
    torch.manual_seed(4)
    return Masks({name: torch.rand(weight.shape) < density for name, weight in prunable(net)})


def by_rows(net, images, masks=None):
    """The Jacobian, one output of one image after the other."""
    rows = []
    for image in images:
        for output in net(image.unsqueeze(0))[0]:
            found = torch.autograd.grad(output, list(net.parameters()), retain_graph=True)
            parts = zip(net.named_parameters(), found, strict=True)
            kept = [g * masks[n] if masks and n in masks else g for (n, _), g in parts]
            rows.append(torch.cat([g.flatten() for g in kept]))
    return torch.stack(rows)


def written_out(net, images, masks=None):
    jacobian = by_rows(net, images, masks).unflatten(0, (N1 + N2, -1))
    return torch.einsum("iap,jbp->ijab", jacobian[:N1], jacobian[N1:])


@pytest.mark.parametrize("tangent", ["dense", "masked"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_way_agrees_with_jacobians_that_are_written_out(name, tangent):
    net, images, ways = made(name)
    masks = dropped(net) if tangent == "masked" else None
    expected = written_out(net, images, masks)
    for way in (*ways, "auto"):
        found = ntk.empirical_ntk(net, images[:N1], images[N1:], tangent, masks, way)
        near(found, expected, way)


@pytest.mark.parametrize("tangent", ["dense", "masked"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_way_has_the_same_gradient(name, tangent):
    net, images, ways = made(name)
    masks = dropped(net)
    pull = torch.randn(N1, N2, *net(images)[:2].shape[1:] * 2, dtype=torch.float64)
    found = []
    for way in ways:
        # As NTT asks for it: of the dense parameters, through their masks.
        dense = {n: p.detach().clone().requires_grad_() for n, p in net.named_parameters()}
        given = {n: p * masks[n] if n in masks else p for n, p in dense.items()}
        outputs, kernel = ntk.outputs_and_kernel(
            net, images, N1, tangent, masks, way, parameters=given
        )
        loss = (kernel * pull).sum() + kernel.square().sum() + outputs.square().sum()
        found.append(torch.autograd.grad(loss, list(dense.values()), materialize_grads=True))
    for other in found[:-1]:
        for (n, _), one, two in zip(net.named_parameters(), other, found[-1], strict=True):
            near(one, two, n)


@pytest.mark.parametrize("tangent", ["dense", "masked"])
@pytest.mark.parametrize("name", ["mlp", "tiny cnn", "strides, groups, batch norms", "shared"])
def test_little_memory_changes_nothing(name, tangent):
    net, images, _ = made(name)
    masks = dropped(net)
    results = []
    for memory in (1e-9, 1024.0):
        outputs, kernel = ntk.outputs_and_kernel(net, images, N1, tangent, masks, memory_mb=memory)
        loss = kernel.square().sum() + outputs.sum()
        results.append((kernel, *torch.autograd.grad(loss, list(net.parameters()))))
    for little, much in zip(*results, strict=True):
        near(little, much)


def filters_at(places, channels, filters):
    """A convolution that is used at places x places, and a linear layer; its inputs."""
    torch.manual_seed(3)
    side = places + 2
    net = nn.Sequential(
        nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(filters * places**2, K),
    )  # fmt: skip
    images = torch.randn(N1 + N2, channels, side, side, dtype=torch.float64)
    return net.double().eval(), images


def counted(net, images, *masks):
    """The kernel by the chain, and the FLOPs of its products."""
    with FlopCounterMode(display=False) as counter:
        found = ntk.empirical_ntk(net, images[:N1], images[N1:], *masks, method="chain")
    return found, counter.get_total_flops()


@pytest.mark.parametrize(
    ("places", "channels", "filters", "share"), [(2, 8, 16, 0.5), (10, 1, 2, 1.0)]
)
def test_without_masks_the_cheaper_of_pairs_of_places_and_blocks_of_weights_is_taken(
    places, channels, filters, share
):
    """With masks there are only blocks: the same kernel, and never for less."""
    net, images = filters_at(places, channels, filters)
    plain, cost = counted(net, images)
    by_blocks, cost_by_blocks = counted(net, images, "masked", Masks.ones(net))
    near(plain, by_blocks)
    assert cost <= share * cost_by_blocks


def test_the_fastest_way_is_taken():
    assert chain.supports(lenet_5((1, 28, 28), 10))
    assert not chain.supports(resnet((3, 6, 6), K))
    assert hooks.supports(resnet((3, 6, 6), K))
    assert not hooks.supports(NETWORKS["layer norm"][0]())


def test_the_network_is_left_as_it_was():
    net, images, _ = made("residual")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    ntk.empirical_ntk(net, images[:N1], images[N1:])
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


def test_impossible_values_raise():
    net, images, _ = made("residual")
    one, two = images[:N1], images[N1:]
    with pytest.raises(BenchError, match="masked"):
        ntk.empirical_ntk(net, one, two, "masked")
    with pytest.raises(BenchError, match="method chain"):
        ntk.empirical_ntk(net, one, two, method="chain")
    net.train()
    with pytest.raises(BenchError, match=r"call network\.eval"):
        ntk.empirical_ntk(net, one, two)
    mixing = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    with pytest.raises(BenchError, match="running statistics"):
        ntk.empirical_ntk(mixing.eval().double(), one, two)


@pytest.mark.parametrize("tangent", ["dense", "masked"])
@pytest.mark.parametrize("name", ["mlp", "residual", "shared", "layer norm"])
def test_the_kernel_of_images_with_each_other_is_that_of_two_equal_batches(name, tangent):
    net, images, _ = made(name)
    masks = dropped(net)
    near(
        ntk.gram(net, images, tangent, masks),
        ntk.empirical_ntk(net, images, images, tangent, masks),
    )


def test_eigenvalues_are_squared_singular_values_of_the_jacobian_of_the_kept_weights():
    net, images, _ = made("mlp")
    masks = dropped(net, 0.8)
    found = eigenvalues(net.float(), images, masks)
    net.double()
    masks.apply(net)
    expected = torch.linalg.svdvals(by_rows(net, images, masks)).square()
    near(found[: len(expected)], expected)
    assert (found.diff() <= 0).all()


def test_batch_norms_of_the_masked_network_divide_by_the_statistics_of_the_images():
    net, images, _ = made("residual")
    masks = dropped(net, 0.8)
    found = eigenvalues(net, 5 * images + 3, masks)
    masks.apply(net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            module.reset_running_stats()
    with torch.no_grad():
        net.train()(5 * images + 3)
    expected = torch.linalg.svdvals(by_rows(net.eval(), 5 * images + 3, masks)).square()
    near(found[: len(expected)], expected)
