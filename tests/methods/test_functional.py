"""`pai_bench.prune`: any network, any method that prunes at initialisation."""

import re
import warnings

import pytest
import torch
from torch import nn

import pai_bench
from pai_bench import PruneAtInit, prunable
from pai_bench.baselines.magnitude import Magnitude
from pai_bench.core.errors import BenchError, BenchWarning
from pai_bench.registry.methods import register
from pai_bench.sparsity.select import kept_count

METHODS = (
    "random", "magnitude", "snip", "iterative-snip", "force", "grasp", "synflow", "ntk-sap",
)  # fmt: skip


class Residual(nn.Module):
    """BatchNorm, a shortcut, a depthwise convolution and a functional pool."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = x + self.depthwise(x)
        return self.head(torch.nn.functional.max_pool2d(x, 2).mean((2, 3)))


def batches(count=2, dtype=torch.float32):
    torch.manual_seed(1)
    return [(torch.randn(6, 3, 8, 8, dtype=dtype), torch.arange(6) % 4) for _ in range(count)]


def network():
    torch.manual_seed(0)
    return Residual()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("density", [0.5, 0.07])
def test_density_is_exact_and_the_network_is_left_as_it_was(method, density):
    net, data = network(), batches()
    net.norm.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    random = torch.get_rng_state()
    masks = pai_bench.prune(net, method=method, density=density, batches=data, rounds=3)
    assert masks.kept == kept_count(masks.total, density)
    assert list(masks) == ["stem.weight", "depthwise.weight", "head.weight"]
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert (net.training, net.norm.training, net.norm.momentum) == (True, False, 0.1)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert torch.equal(random, torch.get_rng_state())
    masks.apply(net)
    assert (
        sum(int(p.count_nonzero()) for n, p in net.named_parameters() if n in masks) == masks.kept
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_masks(method):
    one, other = (
        pai_bench.prune(network(), method, 0.1, batches(), rounds=2, seed=5) for _ in range(2)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_methods_without_data_use_nothing_but_shapes():
    for method in ("random", "magnitude", "synflow", "ntk-sap"):
        noise = [(1e3 * torch.randn_like(images), None) for images, _ in batches()]
        one = pai_bench.prune(network(), method, 0.1, batches(), rounds=2)
        other = pai_bench.prune(network(), method, 0.1, noise, rounds=2)
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"method": "snpi"}, 'did you mean "snip"?'),
        ({"method": "dense"}, "does not prune at initialisation"),
        ({"method": "snip", "round": 3}, 'did you mean "rounds"?'),
        ({"method": "snip", "rounds": 0}, "rounds must be at least 1"),
        ({"method": "snip", "scope": "layer"}, "scope must be"),
        ({"method": "snip", "density": 0.0}, "density 0 is impossible"),
        ({"method": "random", "network": nn.ReLU()}, "no conv or linear layer to prune"),
    ],
)
def test_bad_input_is_named(arguments, says):
    given = {"network": network(), "density": 0.1, "batches": batches(), **arguments}
    with pytest.raises(BenchError, match=says.replace("?", r"\?")):
        pai_bench.prune(**given)


@pytest.mark.parametrize("method", ["snip", "grasp", "synflow", "ntk-sap", "magnitude"])
def test_weights_that_are_computed_or_shared_are_refused_not_scored_wrongly(method):
    computed = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2)
    )
    shared = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    shared[1].weight = shared[0].weight
    for network, name in ((computed, "0.weight"), (shared, "1.weight")):
        with pytest.raises(BenchError, match=f"{name} is no parameter of its own"):
            pai_bench.prune(network, method, 0.5, [(torch.randn(3, 4), torch.tensor([0, 1, 0]))])


@pytest.mark.parametrize(
    "method", ["snip", "iterative-snip", "force", "grasp", "synflow", "ntk-sap"]
)
def test_methods_that_look_at_batches_say_so_when_there_is_none(method):
    with pytest.raises(BenchError, match=f"{method} needs at least one batch"):
        pai_bench.prune(nn.Linear(4, 2), method, 0.5, [])


@pytest.mark.parametrize("method", ["snip", "grasp", "synflow", "ntk-sap"])
def test_inference_mode_changes_nothing(method):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    batches = [(torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 1, 0]))]
    plain = pai_bench.prune(network, method, 0.5, batches)
    with torch.inference_mode():
        found = pai_bench.prune(network, method, 0.5, batches)
    assert all(torch.equal(found[name], plain[name]) for name in plain)


def test_a_method_of_ones_own_code_needs_no_file_of_its_own():
    @register("of-my-own")
    class OfMyOwn(PruneAtInit):
        """Keep the last weights."""

        def scores(self, network, batches):
            return {n: torch.arange(w.numel()).view_as(w).float() for n, w in prunable(network)}

    for method in (OfMyOwn, "of-my-own"):
        masks = pai_bench.prune(nn.Linear(4, 2), method, 0.25, [])
        assert masks["weight"].tolist() == [[False] * 4, [False, False, True, True]]
    with pytest.raises(BenchError, match='unknown hyper-parameter "round"; did you mean "rounds"'):
        pai_bench.prune(nn.Linear(4, 2), OfMyOwn, 0.25, [], round=2)


def test_weights_that_a_method_chooses_are_handed_over_and_not_set():
    net = nn.Linear(6, 4)
    before = net.weight.clone()
    with pytest.warns(BenchWarning, match="scaled-random also chose weights"):
        masks = pai_bench.prune(net, "scaled-random", 0.25)
    assert torch.equal(net.weight, before)
    assert list(masks.start) == ["weight"]
    assert torch.allclose(masks.start["weight"], 2 * before)


def test_weights_without_masks_are_named_with_their_share_unless_one_has_chosen():
    net = nn.ModuleDict({"lstm": nn.LSTM(3, 2), "head": nn.Linear(2, 5)})
    with pytest.warns(BenchWarning, match=r"lstm.weight_hh_l0: 40 weights, 80.0% of all"):
        masks = pai_bench.prune(net, "magnitude", 0.5)
    assert masks.left_out == {"lstm.weight_ih_l0": 24, "lstm.weight_hh_l0": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = pai_bench.prune(net, "magnitude", 0.5, prunable=["*.weight*"])
    assert list(chosen) == ["lstm.weight_ih_l0", "lstm.weight_hh_l0", "head.weight"]


@pytest.mark.parametrize(("scores", "says"), [
    (lambda _: None, "scores must be a tensor by name of each weight (a dict), got NoneType"),
    (lambda found: {n: s.numpy() for n, s in found.items()}, "must be a tensor, got ndarray"),
    (lambda found: {n: s.long() for n, s in found.items()}, "must be floating-point numbers"),
    (lambda found: {n: s.to(torch.complex64) for n, s in found.items()}, "got torch.complex64"),
])  # fmt: skip
def test_scores_of_another_kind_are_one_line(scores, says, monkeypatch):
    right = Magnitude.scores
    monkeypatch.setattr(Magnitude, "scores", lambda *given: scores(right(*given)))
    with pytest.raises(BenchError, match=re.escape(says)):
        pai_bench.prune(nn.Linear(4, 4), "magnitude", 0.5)


def test_a_layer_whose_scores_say_nothing_is_said_and_all_of_them_are_an_error():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    nn.init.constant_(net[0].weight, 0.5)
    with pytest.warns(BenchWarning, match=r"score the same in 0\.weight"):
        pai_bench.prune(net, "magnitude", 0.5)
    nn.init.constant_(net[2].weight, 0.5)
    with pytest.raises(BenchError, match="score the same in all layers"):
        pai_bench.prune(net, "magnitude", 0.5)
