"""Scores against brute force that shares no code with them, and scores that are hard to rank.

The brute force writes weights into a copy of the network, runs it as anybody would, and moves one
entry at a time. It knows nothing of masks as functions of the network, nor of functional calls.
"""

import copy
from functools import partial
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pai_bench
from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.registry import methods as registry
from pai_bench.sparsity.select import density_schedule, kept_count
from pai_bench.training.context import MethodContext

STEP = 1e-6
REPEATS, EPSILON, TEMPERATURE = 2, 0.01, 200


class Perceptron(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


class Residual(nn.Module):
    """Batch norm everywhere, and a shortcut with a convolution of its own."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(2)
        self.conv2 = nn.Conv2d(2, 3, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(3)
        self.shortcut = nn.Conv2d(2, 3, 1, stride=2, bias=False)
        self.bn3 = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 3)

    def forward(self, inputs):
        first = self.bn1(self.conv1(inputs)).relu()
        second = self.bn2(self.conv2(first)) + self.bn3(self.shortcut(first))
        return self.fc(second.relu().mean((2, 3)))


NETWORKS = {"mlp": (Perceptron, (4,)), "residual": (Residual, (2, 5, 5))}


def network(kind):
    """A network in float64 of which nothing is at a default: biases, batch norms, statistics."""
    random = torch.Generator().manual_seed(2)
    net = NETWORKS[kind][0]().double()
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=random, dtype=torch.float64))
            if name.endswith("bias"):
                tensor.abs_()  # units that live, where the slopes are not zero
            if "bn" in name and name.endswith(("weight", "var")):
                tensor.abs_().add_(0.5)
    return net


def data(kind):
    """Two batches of different sizes: a sum of their means is not the mean of all images."""
    random = torch.Generator().manual_seed(4)
    images = torch.randn(7, *NETWORKS[kind][1], generator=random, dtype=torch.float64)
    return [(images[:4], torch.tensor([0, 1, 2, 0])), (images[4:], torch.tensor([1, 1, 2]))]


class FixedDraws:
    """The same numbers for the same question, whoever asks and however often."""

    def weights(self, c, t, like):
        return self._normal(like, 1, c, t) / like[0].numel() ** 0.5

    def inputs(self, c, like):
        return self._normal(like, 2, c, 0)

    def perturbation(self, c, t, like):
        return self._normal(like, 3, c, t)

    def _normal(self, like, kind, c, t):
        random = torch.Generator().manual_seed(10_000 * kind + 100 * c + t)
        return torch.randn(like.shape, generator=random, dtype=like.dtype)


def record(net, method, batches, density=0.4, rounds=2, **hyper):
    """Let a method prune; return the masks that each round began with, its scores, the end."""
    if method == "ntk-sap":
        hyper = {"repeats": REPEATS, "draws": FixedDraws(), **hyper}
    context = MethodContext(density, Recipe(epochs=1, batch_size=1, lr=1.0), 3, RandomStreams(0))
    module = registry.load(method)(net, context, rounds=rounds, **hyper)
    scores, seen = module.scores, []

    def watch(scratch, given):
        seen.append((dict(module.masks), scores(scratch, given)))
        return seen[-1][1]

    module.scores = watch
    end = module.sparsify(module.restrict_inputs(batches))
    return [*seen, (dict(end), None)]


def weights_of(net):
    """The tensors of more than one dimension: those of the linear and convolutional layers."""
    return {name: p.detach().clone() for name, p in net.named_parameters() if p.ndim > 1}


def times(one, other):
    return {name: one[name] * other[name] for name in one}


def write(net, weights):
    for name, weight in weights.items():
        net.get_parameter(name).data = weight


def run(net, weights, inputs):
    write(net, weights)
    return net(inputs)


def slopes(objective, at):
    """Central differences of `objective` with respect to every entry of the tensors `at`."""
    found = {}
    for name, tensor in at.items():
        found[name] = torch.zeros_like(tensor)
        for index in range(tensor.numel()):
            ends = []
            for step in (STEP, -STEP):
                moved = tensor.clone()
                moved.view(-1)[index] += step
                with torch.no_grad():
                    ends.append(float(objective({**at, name: moved})))
            found[name].view(-1)[index] = (ends[0] - ends[1]) / (2 * STEP)
    return found


def loss(net, weights, batches, temperature=1):
    """Mean cross-entropy of each batch, summed over batches."""
    total = 0
    for images, labels in batches:
        logits = run(net, weights, images) / temperature
        chosen = logits[torch.arange(len(labels)), labels]
        total = total + (logits.exp().sum(1).log() - chosen).mean()
    return total


def brute_magnitude(net, masks, batches, number):
    return {name: weight.abs() for name, weight in weights_of(net).items()}


def brute_snip(net, masks, batches, number):
    """|dL/dm|, for pruned weights as well."""
    dense, twin = weights_of(net), copy.deepcopy(net).train()
    found = slopes(lambda moved: loss(twin, times(dense, moved), batches), masks)
    return {name: slope.abs() for name, slope in found.items()}


def brute_iterative_snip(net, masks, batches, number):
    """|w dL/dw| in the masked network."""
    dense, twin = weights_of(net), copy.deepcopy(net).train()
    found = slopes(lambda moved: loss(twin, times(moved, masks), batches), dense)
    return {name: (slope * dense[name]).abs() for name, slope in found.items()}


def brute_grasp(net, masks, batches, number):
    """w * H g: how far the gradient turns when the weights move a little along it."""
    dense, twin = weights_of(net), copy.deepcopy(net).train()

    def gradient(weights):
        twin.zero_grad()
        loss(twin, times(weights, masks), batches, TEMPERATURE).backward()
        return {name: twin.get_parameter(name).grad * masks[name] for name in masks}

    along = gradient(dense)
    step = 1e-5 / max(float(g.abs().max()) for g in along.values())
    ahead, back = (
        gradient({n: w + sign * step * along[n] for n, w in dense.items()}) for sign in (1, -1)
    )
    return {n: w * (ahead[n] - back[n]) / (2 * step) for n, w in dense.items()}


def brute_synflow(net, masks, batches, number):
    """|w dR/dw| in the network of absolute values, for an input of ones."""
    twin = copy.deepcopy(net).eval()
    for tensor in twin.state_dict().values():
        tensor.abs_()
    dense, ones = weights_of(twin), torch.ones_like(batches[0][0][:1])
    found = slopes(lambda moved: run(twin, times(moved, masks), ones).sum(), dense)
    return {name: (slope * dense[name]).abs() for name, slope in found.items()}


def brute_ntk_sap(net, masks, batches, number):
    """|sum over all draws of dJ/dm| where a weight is kept, the statistics held fixed."""
    shapes, draws = weights_of(net), FixedDraws()
    total = {name: torch.zeros_like(weight) for name, weight in shapes.items()}
    first = (number - 1) * REPEATS * len(batches)
    for c in range(first, first + REPEATS * len(batches)):
        base = {n: draws.weights(c, t, w) for t, (n, w) in enumerate(shapes.items())}
        noise = {n: draws.perturbation(c, t, w) for t, (n, w) in enumerate(shapes.items())}
        moved = {n: weight + EPSILON * noise[n] for n, weight in base.items()}
        inputs = draws.inputs(c, batches[c % len(batches)][0])
        twin = copy.deepcopy(net)
        measure_statistics(twin, times(base, masks), inputs)
        found = slopes(partial(change, twin, base, moved, inputs), masks)
        total = {name: total[name] + found[name] for name in total}
    return {name: (total[name] * masks[name]).abs() for name in total}


def change(net, base, moved, inputs, masks):
    """Squared distance between the outputs of two networks with the same masks."""
    difference = run(net, times(base, masks), inputs) - run(net, times(moved, masks), inputs)
    return difference.square().sum()


@torch.no_grad()
def measure_statistics(net, weights, inputs):
    """Give batch norms factor 1, shift 0 and the statistics of what they are fed; to eval mode."""
    hooks = []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.fill_(1)
            module.bias.fill_(0)
            hooks.append(module.register_forward_pre_hook(take_statistics))
    run(net.train(), weights, inputs)
    for hook in hooks:
        hook.remove()
    net.eval()


def take_statistics(norm, inputs):
    """Mean and unbiased variance by hand; the layer's own running average then changes nothing."""
    values = inputs[0].transpose(0, 1).flatten(1)
    norm.running_mean.copy_(values.mean(1))
    squares = (values - values.mean(1, keepdim=True)).square().sum(1)
    norm.running_var.copy_(squares / (values.shape[1] - 1))


BRUTE = {
    "magnitude": brute_magnitude,
    "snip": brute_snip,
    "force": brute_snip,
    "iterative-snip": brute_iterative_snip,
    "grasp": brute_grasp,
    "synflow": brute_synflow,
    "ntk-sap": brute_ntk_sap,
}


@pytest.mark.parametrize("method", BRUTE)
@pytest.mark.parametrize("kind", NETWORKS)
def test_scores_are_those_of_brute_force(kind, method):
    net, batches = network(kind), data(kind)
    *rounds, _ = record(net, method, batches)
    assert len(rounds) == 2
    for number, (masks, scores) in enumerate(rounds, 1):
        floats = {name: mask.double() for name, mask in masks.items()}
        expected = BRUTE[method](net, floats, batches, number)
        assert scores.keys() == expected.keys()
        for name, score in expected.items():
            largest = float(score.abs().max())
            assert largest > 0, "a score of zeros would prove nothing"
            import os

            if os.environ.get("SHOW"):
                print(
                    kind,
                    method,
                    number,
                    name,
                    largest,
                    float((scores[name] - score).abs().max()) / largest,
                )
            assert torch.allclose(scores[name], score, rtol=1e-6, atol=2e-7 * largest), name


def through_paths(weights, sizes):
    """For each weight of a chain of layers, the sum over the paths it lies on of their products."""
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for path in product(*map(range, sizes)):
        steps = [(end, start) for start, end in pairwise(path)]
        flow = 1.0
        for weight, step in zip(weights.values(), steps, strict=True):
            flow *= float(weight[step])
        for name, step in zip(weights, steps, strict=True):
            total[name][step] += flow
    return total


def test_synflow_sums_over_paths():
    sizes = (4, 5, 4, 3)
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(i, o, bias=False) for i, o in pairwise(sizes))).double()
    *rounds, (end, _) = record(net, "synflow", [(torch.zeros(1, 4), None)], density=0.3, rounds=3)
    dense = {name: weight.abs() for name, weight in weights_of(net).items()}
    for masks, scores in rounds:
        for name, score in through_paths(times(dense, masks), sizes).items():
            assert torch.allclose(scores[name], score, rtol=1e-12), name
    assert sum(int(mask.sum()) for mask in end.values()) == kept_count(52, 0.3)


def test_force_takes_weights_back_and_iterative_snip_never_does():
    for method, returns in [("force", True), ("iterative-snip", False)]:
        rounds = record(network("mlp"), method, data("mlp"), rounds=4)
        *_, (masks, scores), _ = rounds
        assert returns == any(bool(scores[n][~mask].any()) for n, mask in masks.items())
        steps = pairwise(masks for masks, _ in rounds)
        assert returns == any(bool((b[n] & ~a[n]).any()) for a, b in steps for n in a)


# From here on: scores that are hard to rank.

LABELS = torch.arange(6) % 3


def chain(*sizes, scale=1.0, bias=False, dtype=torch.float32):
    """Linear layers and ReLUs; with a power of 2 for `scale` nothing but magnitudes changes."""
    torch.manual_seed(0)
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.ReLU()]
    net = nn.Sequential(*layers[:-1]).to(dtype)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(scale)
    return net


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("selection", ["exact", "strict"])
@pytest.mark.parametrize("method", ["snip", "iterative-snip", "force", "grasp", "synflow"])
def test_scores_that_overflow_are_an_error_that_names_a_layer(method, selection):
    net = chain(4, 5, 3, scale=2.0**120)
    if method == "synflow":  # it scores in float64
        net = chain(4, 5, 3, scale=2.0**700, dtype=torch.float64)
    state = torch.get_rng_state()
    with pytest.raises(BenchError, match=r"the scores of [02]\.weight are not finite"):
        pai_bench.prune(net, method, 0.5, [(torch.ones(6, 4), LABELS)], selection=selection)
    assert torch.equal(torch.get_rng_state(), state)


def test_ntk_sap_names_a_layer_when_what_it_does_not_draw_overflows():
    net = chain(4, 5, 3, bias=True)
    with torch.no_grad():
        net[0].bias.fill_(2.0**120)
    with pytest.raises(BenchError, match=r"the scores of [02]\.weight are not finite"):
        pai_bench.prune(net, "ntk-sap", 0.5, [(torch.ones(6, 4), None)])


def test_ntk_sap_does_not_mind_weights_that_overflow_as_it_draws_its_own():
    one, other = (
        pai_bench.prune(chain(4, 5, 3, scale=scale), "ntk-sap", 0.5, [(torch.ones(6, 4), None)])
        for scale in (2.0**120, 1.0)
    )
    assert same(one, other)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_magnitude_names_the_layer_with_a_weight_that_is_not_finite(bad):
    net = chain(4, 5, 3)
    with torch.no_grad():
        net[2].weight[1, 2] = bad
    with pytest.raises(BenchError, match=r"2\.weight is not finite"):
        pai_bench.prune(net, "magnitude", 0.5, [])


@pytest.mark.parametrize("method", ["snip", "iterative-snip", "force", "grasp", "synflow"])
def test_a_weight_that_is_no_number_is_an_error(method):
    net = chain(4, 5, 3)
    with torch.no_grad():
        net[0].weight[1, 2] = float("nan")
    with pytest.raises(BenchError, match=r"0\.weight is not finite"):
        pai_bench.prune(net, method, 0.5, [(torch.ones(6, 4), LABELS)])


def test_synflow_ranks_where_float32_overflows():
    sizes, images = (6, *[8] * 11, 3), torch.ones(1, 6)
    loud, quiet = (chain(*sizes, scale=scale) for scale in (2.0**14, 1.0))
    absolute = copy.deepcopy(loud)
    write(absolute, {name: weight.abs() for name, weight in weights_of(loud).items()})
    assert bool(absolute(images).isinf().all())
    one, other = (
        pai_bench.prune(net, "synflow", 0.2, [(images, None)], rounds=20) for net in (loud, quiet)
    )
    assert one.kept == kept_count(one.total, 0.2)
    assert one.collapsed() == []
    assert same(one, other)


@pytest.mark.parametrize(
    ("method", "density"), [("snip", 0.9), ("iterative-snip", 0.9), ("force", 0.9), ("grasp", 0.6)]
)
def test_pixels_that_are_always_zero_do_not_over_prune(method, density):
    """Their weights score exactly 0: the authors' rule removes them all, too many of them."""
    images = torch.zeros(6, 6, 6)
    images[:, 1:-1, 1:-1] = torch.randn(6, 4, 4, generator=torch.Generator().manual_seed(0))
    border = images.abs().sum(0).flatten() == 0
    net, batches = chain(36, 10, 3, bias=True), [(images.flatten(1), LABELS)]
    masks = pai_bench.prune(net, method, density, batches, rounds=1)
    assert masks.kept == kept_count(390, density)
    assert int(masks["0.weight"][:, border].sum()) > 0
    if method != "grasp":  # whose scores may be negative
        assert bool(masks["0.weight"][:, ~border].all())
    strict = pai_bench.prune(net, method, density, batches, rounds=1, selection="strict")
    assert not strict["0.weight"][:, border].any()
    assert strict.kept < masks.kept - 100


@st.composite
def problems(draw):
    """A network of any shape, and data; any share of the weights and inputs may be 0."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    random = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    share = draw(st.sampled_from([0.0, 0.5, 1.0]))
    net = chain(*sizes, bias=draw(st.booleans()))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(torch.rand(parameter.shape, generator=random) < share)
    images = torch.randn(5, sizes[0], generator=random)
    images *= torch.rand(sizes[0], generator=random) < 0.7
    return net, [(images, torch.arange(5) % sizes[-1])]


@pytest.mark.parametrize("method", [*BRUTE, "random"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(problems(), st.floats(0.01, 1), st.integers(1, 4))
def test_every_round_keeps_its_exact_number_however_many_scores_are_zero(
    method, problem, density, rounds
):
    net, batches = problem
    steps = [masks for masks, _ in record(net, method, batches, density, rounds)]
    total = sum(mask.numel() for mask in steps[0].values())
    for number, (before, after) in enumerate(pairwise(steps), 1):
        kept = kept_count(total, density_schedule(density, number, rounds))
        assert sum(int(mask.sum()) for mask in after.values()) == kept
        if method not in ("snip", "force", "grasp"):  # the others never take a weight back
            assert not any(bool((after[name] & ~before[name]).any()) for name in before)


class WithSpare(nn.Module):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(5, 5)
        self.body = chain(4, 5, 3)

    def forward(self, inputs):
        return self.body(inputs)


@pytest.mark.parametrize(
    "method", ["snip", "iterative-snip", "force", "grasp", "synflow", "ntk-sap"]
)
def test_a_layer_that_is_never_called_is_pruned_first(method):
    images = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    masks = pai_bench.prune(WithSpare(), method, 0.2, [(images, LABELS)], rounds=2)
    assert masks.kept == kept_count(60, 0.2)
    assert masks.kept_by_layer()["spare.weight"] == 0
