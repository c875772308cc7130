"""Scores and masks against the authors' own code, on the deterministic problems it was run on."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from pai_bench.config.schema import Recipe
from pai_bench.core.rng import RandomStreams
from pai_bench.registry import methods as registry
from pai_bench.sparsity.masks import prunable
from pai_bench.training.context import MethodContext

FILE = Path(__file__).parents[1] / "golden" / "saliency" / "official_scores.json"
GOLDEN = json.loads(FILE.read_text())
SHAPES = {"mlp": (7, 6), "conv": (5, 2, 6, 6), "lenet": (4, 784)}
DENSITY = {"mlp": 0.3, "conv": 0.3, "lenet": 0.05}
METHODS = {
    "mag/T1": ("magnitude", {}),
    "snip/T1": ("snip", {}),
    "snip/T3": ("snip", {"rounds": 3}),
    "itersnip/T3": ("iterative-snip", {"rounds": 3}),
    "grasp/T1": ("grasp", {}),
    "synflow/T3": ("synflow", {"rounds": 3}),
    "NTKSAP/T3": ("ntk-sap", {"rounds": 3, "repeats": 2}),
}


def wave(kind, shape, *terms):
    index = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    start, slope = terms[:2]
    return kind(start + slope * index + sum(terms[2:])).reshape(shape)


def weights(c, t, shape):
    fan_in = torch.Size(shape[1:]).numel()
    return (2 / fan_in) ** 0.5 * wave(torch.sin, shape, 1.0, 0.37, 1.3 * t, 0.11 * c)


class GoldenDraws:
    """The prescribed draws, in place of chance."""

    def weights(self, c, t, like):
        return weights(c, t, like.shape).to(like.dtype)

    def inputs(self, c, like):
        return wave(torch.cos, like.shape, 0.5, 0.23, 0.9 * c).to(like.dtype)

    def perturbation(self, c, t, like):
        return wave(torch.sin, like.shape, 2.0, 0.53, 0.7 * t, 0.19 * c).to(like.dtype)


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(3)
        self.conv2 = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.sc = nn.Conv2d(3, 4, 1, stride=2, bias=False)
        self.bnsc = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = (self.bn2(self.conv2(x)) + self.bnsc(self.sc(x))).relu()
        return self.fc(x.mean((2, 3)))


def network(problem, dtype=torch.float64):
    if problem == "conv":
        net = ConvNet()
    else:
        sizes = (6, 5, 4, 3) if problem == "mlp" else (784, 300, 100, 10)
        net = nn.Sequential()
        for i in range(3):
            net.add_module(f"fc{i + 1}", nn.Linear(sizes[i], sizes[i + 1]))
            if i < 2:
                net.add_module(f"relu{i + 1}", nn.ReLU())
    net = net.double()
    with torch.no_grad():
        for t, (_, weight) in enumerate(prunable(net)):
            weight.copy_(weights(0, t, weight.shape))
        for module in net.modules():
            if isinstance(module, nn.Linear):
                module.bias.copy_(0.1 * wave(torch.cos, module.bias.shape, 0.0, 1.0))
    return net.to(dtype)


def batches(problem, dtype=torch.float64):
    images = wave(torch.cos, SHAPES[problem], 0.5, 0.23).to(dtype)
    labels = torch.arange(len(images)) % 3
    first = {"mlp": 4, "conv": 3, "lenet": 2}[problem]
    return list(zip(images.split(first), labels.split(first), strict=True))


def prune(problem, case, dtype=torch.float64, selection="strict", net=None):
    name, hyper = METHODS[case]
    if name == "ntk-sap":
        hyper = {**hyper, "draws": GoldenDraws()}
    context = MethodContext(
        DENSITY[problem], Recipe(epochs=1, batch_size=1, lr=1.0), 3, RandomStreams(0)
    )
    net = net or network(problem, dtype)
    module = registry.load(name)(net, context, selection=selection, **hyper)
    rounds = {}
    score = module.scores

    def record(*args):
        rounds[module.round] = score(*args)
        return rounds[module.round]

    module.scores = record
    masks = module.sparsify(module.restrict_inputs(batches(problem, dtype)))
    return masks, rounds


def normalised(case, scores):
    """Three official classes divide their scores by the size of their sum; ranks are the same."""
    total = 1.0
    if case.startswith(("snip", "itersnip", "grasp")):
        total = abs(sum(float(score.sum()) for score in scores.values()))
    if case.startswith("grasp"):
        total += 1e-10
    return {name: score.flatten() / total for name, score in scores.items()}


@pytest.mark.parametrize("case", METHODS)
@pytest.mark.parametrize("problem", SHAPES)
def test_float64_equals_the_official_code(problem, case):
    golden = GOLDEN[f"{problem}/{case}"]
    masks, rounds = prune(problem, case)
    for number, layers in golden["rounds"].items():
        scores = normalised(case, rounds[int(number)])
        for layer, expected in layers.items():
            found = scores[f"{layer}.weight"]
            assert float(found.sum()) == pytest.approx(expected["sum"], rel=1e-8)
            assert float(found.max()) == pytest.approx(expected["max"], rel=1e-8)
            assert float(found[expected["argmax"]]) == pytest.approx(expected["max"], rel=1e-8)
            assert found[:3].tolist() == pytest.approx(expected["first"], rel=1e-8, abs=1e-14)
    first = normalised(case, rounds[1])
    for layer, expected in zip(golden["names"], golden.get("scores_r1", []), strict=False):
        assert first[f"{layer}.weight"].tolist() == pytest.approx(expected, rel=1e-8, abs=1e-14)
    assert list(masks.kept_by_layer().values()) == golden["kept"]
    for layer, bits in zip(golden["names"], golden.get("mask", []), strict=False):
        assert as_bits(masks[f"{layer}.weight"]) == bits
    for layer, digest in zip(golden["names"], golden.get("mask_sha256", []), strict=False):
        found = hashlib.sha256(as_bits(masks[f"{layer}.weight"]).encode()).hexdigest()
        assert found[:16] == digest


def as_bits(mask):
    return "".join("1" if bit else "0" for bit in mask.flatten().tolist())


@pytest.mark.parametrize("case", METHODS)
@pytest.mark.parametrize("problem", ["mlp", "conv"])
def test_float32_gives_the_same_masks(problem, case):
    masks, rounds = prune(problem, case, torch.float32)
    exact, reference = prune(problem, case)
    assert all(torch.equal(masks[name], exact[name]) for name in exact)
    for name, score in reference[1].items():
        assert torch.allclose(rounds[1][name].double(), score, atol=1e-4 * float(score.max()))


def test_exact_and_strict_selection_agree_without_ties():
    masks, _ = prune("conv", "NTKSAP/T3")
    exact, _ = prune("conv", "NTKSAP/T3", selection="exact")
    assert all(torch.equal(masks[name], exact[name]) for name in exact)


@pytest.mark.parametrize("case", METHODS)
def test_the_network_is_left_as_it_was(case):
    net = network("conv")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    random = torch.get_rng_state()
    prune("conv", case, net=net)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert net.bn1.momentum == 0.1
    assert torch.equal(random, torch.get_rng_state())
