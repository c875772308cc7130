"""Negative controls: the golden tests of NTK-SAP tell its likely mistakes from the truth.

How much each mistake in the calibration of batch norms changes was measured with the authors' own
code; what is compared with is that code's stored scores and masks.
"""

import copy
import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import dropout

import pai_bench
from pai_bench.core.errors import BenchError
from pai_bench.reproductions.ntk_sap import method as ntk_sap


def neighbour(name):
    """Import a test file of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = neighbour("test_golden_saliency")
CASE = "NTKSAP/T3"
TRUTH = golden.GOLDEN[f"conv/{CASE}"]
WEIGHTS = [f"{layer}.weight" for layer in TRUTH["names"]]


def outcome(monkeypatch, calibrate, selection):
    """Run NTK-SAP with another calibration: greatest difference in round 1, mask bits that differ.

    Differences are relative to the tensor's largest score.
    """
    monkeypatch.setattr(ntk_sap, "calibrate", calibrate)
    masks, rounds = golden.prune("conv", CASE, selection=selection)
    assert masks.kept == sum(TRUTH["kept"])
    worst, bits = 0.0, 0
    for name, scores, mask in zip(WEIGHTS, TRUTH["scores_r1"], TRUTH["mask"], strict=True):
        truth = torch.tensor(scores, dtype=torch.float64)
        worst = max(worst, float((rounds[1][name].flatten() - truth).abs().max() / truth.max()))
        bits += sum(a != b for a, b in zip(golden.as_bits(masks[name]), mask, strict=True))
    return worst, bits


def correct():
    return ntk_sap.calibrate


def biased():
    """Variances divided by n, which is the number of values per channel, instead of n - 1."""
    true, counts = ntk_sap.calibrate, {}

    def calibrate(network, masks, weights, inputs):
        hooks = [
            module.register_forward_hook(
                lambda _module, _inputs, output, name=name: counts.update(
                    {name: output.numel() / output.shape[1]}
                )
            )
            for name, module in network.named_modules()
            if isinstance(module, nn.BatchNorm2d)
        ]
        state = true(network, masks, weights, inputs)
        for hook in hooks:
            hook.remove()
        for name, n in counts.items():
            state[f"{name}.running_var"] *= (n - 1) / n
        return state

    return calibrate


def on_the_dense_network():
    true = ntk_sap.calibrate

    def calibrate(network, masks, weights, inputs):
        ones = {name: torch.ones_like(mask) for name, mask in masks.items()}
        return true(network, ones, weights, inputs)

    return calibrate


def not_on_the_first_batch():
    """What the authors' code does without its flag `--prune-train-mode`."""
    true, calls = ntk_sap.calibrate, []

    def calibrate(network, masks, weights, inputs):
        state = true(network, masks, weights, inputs)
        calls.append(inputs)
        if len(calls) == 1:
            for name, tensor in state.items():
                if name.endswith(("running_mean", "running_var")):
                    tensor.fill_(float(name.endswith("var")))
        return state

    return calibrate


@pytest.mark.parametrize("selection", ["strict", "exact"])
@pytest.mark.parametrize(
    ("mistake", "difference", "bits"),
    [(correct, 0, 0), (biased, 0.061, 30), (on_the_dense_network, 0, 44),
     (not_on_the_first_batch, 0.13, 48)],
)  # fmt: skip
def test_a_wrong_calibration_differs_as_it_does_in_the_official_code(
    monkeypatch, mistake, difference, bits, selection
):
    found = outcome(monkeypatch, mistake(), selection)
    assert found == (pytest.approx(difference, rel=0.01, abs=1e-8), bits)


@pytest.mark.parametrize("mistake", [biased, on_the_dense_network, not_on_the_first_batch])
def test_the_golden_test_fails_for_each_of_these_mistakes(monkeypatch, mistake):
    golden.test_float64_equals_the_official_code("conv", CASE)
    monkeypatch.setattr(ntk_sap, "calibrate", mistake())
    with pytest.raises(AssertionError):
        golden.test_float64_equals_the_official_code("conv", CASE)


class Draws(golden.GoldenDraws):
    """The prescribed draws, counted wrongly."""

    def __init__(self, of_weights, of_others):
        self.of_weights, self.of_others = of_weights, of_others

    def weights(self, c, t, like):
        return super().weights(self.of_weights(c), t, like)

    def inputs(self, c, like):
        return super().inputs(self.of_others(c), like)

    def perturbation(self, c, t, like):
        return super().perturbation(self.of_others(c), t, like)


@pytest.mark.parametrize(
    "draws",
    [
        lambda: Draws(lambda c: c % 4, lambda c: c % 4),
        lambda: Draws(lambda c: 0, lambda c: c),
        lambda: Draws(lambda c: c, lambda c: 0),
    ],
    ids=["the-same-in-every-round", "weights-drawn-once", "inputs-and-directions-drawn-once"],
)
def test_the_golden_test_fails_for_draws_that_are_not_fresh(monkeypatch, draws):
    monkeypatch.setattr(golden, "GoldenDraws", draws)
    with pytest.raises(AssertionError):
        golden.test_float64_equals_the_official_code("conv", CASE)


@pytest.mark.parametrize("hyper", [{"epsilon": 1e-4}, {"repeats": 1}], ids=str)
def test_the_golden_test_fails_for_other_hyper_parameters(monkeypatch, hyper):
    """An epsilon of 1e-4 is the variance that the paper prints, taken for a standard deviation."""
    name, right = golden.METHODS[CASE]
    monkeypatch.setitem(golden.METHODS, CASE, (name, {**right, **hyper}))
    with pytest.raises(AssertionError):
        golden.test_float64_equals_the_official_code("conv", CASE)


# The state of the world after pruning. The official code leaves training mode, momentum 0.1,
# num_batches_tracked 1 and, after one of its two entry points, other weights; here nothing changes.

METHODS = (
    "random", "magnitude", "snip", "iterative-snip", "force", "grasp", "synflow", "ntk-sap",
)  # fmt: skip


class Noisy(golden.ConvNet):
    """In training mode each pass draws from the global generator."""

    def forward(self, x):
        return super().forward(dropout(x, 0.2, self.training))


def in_use():
    """A network in the middle of things: nothing about it is as a constructor leaves it."""
    torch.manual_seed(0)
    net = Noisy()
    net.register_buffer("scratch", torch.randn(3), persistent=False)
    net(torch.randn(4, 2, 6, 6)).square().sum().backward()
    net.bn2.momentum, net.bnsc.momentum = None, 0.3
    net.bn1.eval()
    net.sc.eval()
    net.conv2.weight.requires_grad_(False)
    net.bn1.bias.requires_grad_(False)
    net.fc.weight.grad = None
    return net


def state_of(net):
    """Everything a user could miss: objects and their values, and every generator of chance."""
    named = [*net.named_parameters(), *net.named_buffers()]
    return {
        "objects": [id(tensor) for _, tensor in named],
        "versions": [tensor._version for _, tensor in named],
        "values": {name: tensor.tolist() for name, tensor in named},
        "gradients": {n: p.grad if p.grad is None else p.grad.tolist() for n, p in named},
        "leaves": {name: tensor.requires_grad for name, tensor in named},
        "modes": {name: module.training for name, module in net.named_modules()},
        "momenta": [net.bn1.momentum, net.bn2.momentum, net.bnsc.momentum],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),
        "python": random.getstate(),
        "gradients are on": torch.is_grad_enabled(),
    }


def batches():
    return [(images.float(), labels) for images, labels in golden.batches("conv")]


@pytest.mark.parametrize("method", METHODS)
def test_pruning_changes_nothing_about_a_network_that_is_in_use(method):
    net, data = in_use(), batches()
    given = copy.deepcopy(data)
    before = state_of(net)
    masks = pai_bench.prune(net, method, 0.3, data, rounds=2)
    assert state_of(net) == before
    assert all(torch.equal(a, b) for ours, theirs in zip(data, given, strict=True)
               for a, b in zip(ours, theirs, strict=True))  # fmt: skip
    assert not any(mask.requires_grad or mask.dtype != torch.bool for mask in masks.values())


@pytest.mark.parametrize("method", METHODS)
def test_the_masks_of_a_network_in_use_are_those_of_a_fresh_one_with_its_values(method):
    """Modes, momenta, frozen weights, old gradients and no_grad do not change what is kept."""
    net, fresh = in_use(), Noisy()
    fresh.load_state_dict(net.state_dict())
    with torch.no_grad():
        one = pai_bench.prune(net, method, 0.3, batches(), rounds=2)
    other = pai_bench.prune(fresh, method, 0.3, batches(), rounds=2)
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize("method", sorted({*METHODS} - {"random", "ntk-sap"}))
def test_pruning_that_fails_changes_nothing_either(method):
    net = in_use()
    net.fc.weight.data[0, 0] = float("nan")
    before = repr(state_of(net))
    with pytest.raises(BenchError, match="not finite"):
        pai_bench.prune(net, method, 0.3, batches(), rounds=2)
    assert repr(state_of(net)) == before
