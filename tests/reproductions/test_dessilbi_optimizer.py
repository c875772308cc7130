"""DessiLBI's optimizer beyond the golden vectors: an invariant, groups, schedules, mistakes."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from pai_bench.core.errors import BenchError
from pai_bench.reproductions.dessilbi.optimizer import DessiLBI
from pai_bench.sparsity.select import kept_count


def network(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, bias=False),
        nn.BatchNorm2d(5),
        nn.Tanh(),
        nn.Conv2d(5, 4, 2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(36, 3),
    ).to(dtype)


def batch(seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 2, 6, 6, generator=generator, dtype=dtype)
    return images, torch.randint(0, 3, (8,), generator=generator)


def gradients(net, step):
    net.zero_grad()
    images, labels = batch(step)
    cross_entropy(net(images), labels).backward()


def trained(net, optimizer, steps, first=0):
    for step in range(first, first + steps):
        gradients(net, step)
        optimizer.step()


options = st.fixed_dictionaries({
    "kappa": st.sampled_from([0.5, 1.0, 2.0]),
    "nu": st.sampled_from([0.7, 2.0, 20.0]),
    "lam": st.sampled_from([0.05, 0.3, 1.0]),
    "prox": st.sampled_from(["l1", "filter", "filter_sqrt"]),
    "momentum": st.sampled_from([0.0, 0.9]),
    "dampening": st.sampled_from([0.0, 0.3]),
    "weight_decay": st.sampled_from([0.0, 0.02]),
    "wd_rule": st.sampled_from(["core", "lottery"]),
    "nesterov": st.booleans(),
})  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(options, st.lists(st.sampled_from([0.3, 0.1, 0.01]), min_size=1, max_size=8))
def test_what_moves_the_weights_is_conserved(given_options, rates):
    """W/kappa + Z + sum of lr * d stays W0/kappa, d from an SGD written out by hand."""
    if not given_options["momentum"]:
        given_options = {**given_options, "nesterov": False}
    net = network(3)
    optimizer = DessiLBI(net.named_parameters(), rates[0], **given_options)
    start = {name: w.detach().clone() for name, w in net.named_parameters()}
    sums = {name: torch.zeros_like(w) for name, w in start.items()}
    buffers = {}
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        gradients(net, step)
        for name, w in net.named_parameters():
            sums[name] += rate * direction(given_options, buffers, name, w)
        optimizer.step()
        kappa = given_options["kappa"]
        for name, w in net.named_parameters():
            dual = optimizer.state[w].get("z", 0)
            assert torch.allclose(
                w.detach() / kappa + dual + sums[name], start[name] / kappa, rtol=0, atol=1e-12
            )


def direction(given_options, buffers, name, weight):
    """What SGD with momentum would multiply its rate with."""
    g, w, o = weight.grad.clone(), weight.detach(), given_options
    if o["wd_rule"] == "lottery":
        decay = o["weight_decay"] * w if "bias" not in name else 0
        g = g + decay
    else:
        # "bn" is in none of these names; vectors do not decay.
        decay = o["weight_decay"] * w if w.dim() > 1 else 0
    if not o["momentum"]:
        return g if o["wd_rule"] == "lottery" else g + decay
    b = o["momentum"] * buffers[name] + (1 - o["dampening"]) * g if name in buffers else g
    if o["wd_rule"] == "core":
        b, g = b + decay, g + decay
    buffers[name] = b
    return g + o["momentum"] * b if o["nesterov"] else b


@settings(max_examples=20, deadline=None)
@given(options)
def test_gamma_is_the_prox_of_z_by_its_definition(given_options):
    """Gamma / kappa minimises (G - Z)^2 / 2 + penalty: checked against nearby points."""
    if not given_options["momentum"]:
        given_options = {**given_options, "nesterov": False}
    net = network(4)
    optimizer = DessiLBI(net.named_parameters(), 0.3, **given_options)
    trained(net, optimizer, 6)
    generator = torch.Generator().manual_seed(0)
    for w in net.parameters():
        if w.dim() == 1:
            continue
        z, found = optimizer.state[w]["z"], optimizer.state[w]["gamma"] / given_options["kappa"]
        best = objective(found, z, given_options)
        for size in (1e-3, 1e-1):
            near = found + size * torch.randn(found.shape, generator=generator, dtype=z.dtype)
            assert objective(near, z, given_options) >= best - 1e-12


def objective(point, z, given_options):
    penalty = point.abs().sum()
    if point.dim() > 2 and given_options["prox"] != "l1":
        penalty = point.flatten(1).norm(dim=1).sum()
        if given_options["prox"] == "filter_sqrt":
            penalty = penalty * math.sqrt(point[0].numel())
    return float((point - z).square().sum() / 2 + given_options["lam"] * penalty)


def test_coupling_in_momentum_is_sgd_on_the_augmented_loss():
    ours, plain = network(), network()
    optimizer = DessiLBI(
        ours.named_parameters(), 0.1, nu=2.0, lam=0.03, prox="l1", coupling_in_momentum=True
    )
    sgd = torch.optim.SGD(plain.parameters(), 0.1, momentum=0.9)
    for step in range(5):
        gammas = [optimizer.state[w].get("gamma", None) for w in ours.parameters()]
        gammas = [g if g is None else g.clone() for g in gammas]
        gradients(plain, step)
        for w, gamma in zip(plain.parameters(), gammas, strict=True):
            if gamma is not None:
                w.grad += (w.detach() - gamma) / 2.0
        sgd.step()
        trained(ours, optimizer, 1, step)
        for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
            assert torch.allclose(one, other, rtol=0, atol=1e-12)
    assert any(bool(mask.any()) for mask in optimizer.support().values())


def test_what_was_saved_goes_on_as_if_nothing_had_happened():
    ours = network()
    made = {"nu": 2.0, "lam": 0.1, "prox": "filter_sqrt", "weight_decay": 0.01}
    optimizer = DessiLBI(ours.named_parameters(), 0.2, **made)
    trained(ours, optimizer, 4)
    other = copy.deepcopy(ours)
    restored = DessiLBI(other.named_parameters(), 0.9, **{**made, "lam": 7.0})
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    trained(ours, optimizer, 3, 4)
    trained(other, restored, 3, 4)
    for (name, one), two in zip(ours.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two), name
        for key, value in optimizer.state[one].items():
            assert torch.equal(value, restored.state[two][key]), f"{name} {key}"
    assert optimizer.rank().keys() == restored.rank().keys()


def test_groups_have_options_of_their_own():
    ours, alone = network(), network()
    convs = [(n, p) for n, p in ours.named_parameters() if not n.startswith("6")]
    rest = [(n, p) for n, p in ours.named_parameters() if n.startswith("6")]
    optimizer = DessiLBI(
        [{"params": convs, "nu": 3.0}, {"params": rest, "nu": 9.0, "lam": 0.2}],
        0.1,
        lam=0.1,
        prox="l1",
    )
    both = [
        DessiLBI([(n, p) for n, p in alone.named_parameters() if n.startswith("6") == last], 0.1,
                 lam=lam, nu=nu, prox="l1")
        for last, lam, nu in ((False, 0.1, 3.0), (True, 0.2, 9.0))
    ]  # fmt: skip
    for step in range(4):
        trained(ours, optimizer, 1, step)
        gradients(alone, step)
        for one in both:
            one.step()
    for one, two in zip(ours.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, two)


def test_schedules_move_its_learning_rate():
    ours, by_hand = network(), network()
    optimizer = DessiLBI(ours.named_parameters(), 0.2, nu=2.0, lam=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    other = DessiLBI(by_hand.named_parameters(), 0.2, nu=2.0, lam=0.1)
    for step in range(5):
        trained(ours, optimizer, 1, step)
        schedule.step()
        other.param_groups[0]["lr"] = 0.2 * 0.1 ** (step // 2)
        trained(by_hand, other, 1, step)
    for one, two in zip(ours.parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-14)


def test_parameters_without_a_gradient_stay():
    net = network()
    net[0].weight.requires_grad_(False)
    optimizer = DessiLBI(net.named_parameters(), 0.1, nu=1.0)
    before = net[0].weight.clone()
    net[0].weight.grad = None
    trained(net, optimizer, 2)
    assert torch.equal(net[0].weight, before)
    assert not optimizer.state[net[0].weight]["z"].any()


def test_what_is_split_unless_said_and_if_said():
    net = network()
    whole = ["0.weight", "3.weight", "6.weight"]
    assert list(DessiLBI(net.named_parameters(), 0.1).support()) == whole
    assert list(DessiLBI(net.parameters(), 0.1).support()) == ["0", "3", "5"]
    chosen = DessiLBI(net.named_parameters(), 0.1, split=["6.weight"])
    assert list(chosen.support()) == ["6.weight"]


def test_linear_layers_may_have_a_threshold_of_their_own():
    net = network()
    optimizer = DessiLBI(net.named_parameters(), 0.1, nu=1.0, lam=1e-9, fc_lam=1e3)
    trained(net, optimizer, 2)
    entered = {name: bool(mask.any()) for name, mask in optimizer.support().items()}
    assert entered == {"0.weight": True, "3.weight": True, "6.weight": False}


def grown():
    net = network()
    optimizer = DessiLBI(net.named_parameters(), 0.2, nu=1.0, lam=0.15, prox="l1")
    trained(net, optimizer, 8)
    return net, optimizer


def test_ranks_are_by_first_step_then_by_z_over_lambda():
    net, optimizer = grown()
    weights = dict(net.named_parameters())
    rows = []
    for name, score in optimizer.rank("path").items():
        state = optimizer.state[weights[name]]
        level = state["z"].abs() / 0.15
        assert torch.allclose(optimizer.rank("dual")[name], level, rtol=1e-12)
        rows += list(
            zip(
                state["first_step"].flatten().tolist(),
                (-level).flatten().tolist(),
                (-score).flatten().tolist(),
                strict=True,
            )
        )
    assert [r[2] for r in sorted(rows)] == sorted(r[2] for r in rows)
    entered = [r for r in rows if r[0] < math.inf]
    assert 0 < len(entered) < len(rows)


@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("mode", ["path", "dual"])
def test_masks_are_exact(scope, mode):
    _, optimizer = grown()
    masks = optimizer.mask(0.2, scope, mode)
    if scope == "global":
        assert masks.kept == kept_count(masks.total, 0.2)
    else:
        assert all(int(m.sum()) == kept_count(m.numel(), 0.2) for m in masks.values())


def test_the_support_is_what_the_dual_ranks_first_in_a_search_where_nothing_left():
    _, optimizer = grown()
    support = optimizer.support()
    count = sum(int(mask.sum()) for mask in support.values())
    total = sum(mask.numel() for mask in support.values())
    masks = optimizer.mask(count / total, mode="dual")
    assert masks.kept == count
    assert all(torch.equal(masks[name], support[name]) for name in support)


def test_a_step_on_projected_weights_is_refused():
    net, optimizer = grown()
    optimizer.project()
    for call, says in (
        (optimizer.step, "restore"),
        (optimizer.project, "projected already"),
    ):
        with pytest.raises(BenchError, match=says):
            call()
    optimizer.restore()
    with pytest.raises(BenchError, match="nothing to restore"):
        optimizer.restore()
    trained(net, optimizer, 1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"lr": 20.0, "nu": 20.0}, "kappa lr / nu is 1; it must be below 1"),
        ({"kappa": 100.0, "nu": 1.0}, "must be below 1"),
        ({"lam": 0.0}, "lam must be above 0, got 0"),
        ({"fc_lam": -1.0}, "fc_lam must be above 0"),
        ({"nu": 0.0}, "nu must be above 0"),
        ({"kappa": -1.0}, "kappa must be above 0"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"momentum": 0.0, "nesterov": True}, "nesterov needs a momentum"),
        ({"prox": "filters"}, 'unknown prox "filters"; did you mean "filter"?'),
        ({"wd_rule": "icml"}, 'unknown wd_rule "icml"'),
        ({"mu": 20.0}, 'unknown option "mu"'),
        ({"split": ["7.weight"]}, "split names 7.weight, which is not among the parameters"),
        ({"split": ["6.bias"]}, "6.bias is a vector"),
    ],
)
def test_what_cannot_be_is_refused(wrong, says):
    with pytest.raises(BenchError, match=says):
        DessiLBI(network().named_parameters(), **{"lr": 0.1, **wrong})


def test_weight_decay_asks_for_names():
    with pytest.raises(BenchError, match="named_parameters"):
        DessiLBI(network().parameters(), 0.1, weight_decay=1e-4)


def test_half_precision_is_refused():
    with pytest.raises(BenchError, match="single precision"):
        DessiLBI(network(dtype=torch.bfloat16).named_parameters(), 0.1)


def test_two_parameters_of_one_name_are_refused():
    one, two = nn.Linear(3, 2), nn.Linear(3, 2)
    groups = [{"params": list(layer.named_parameters())} for layer in (one, two)]
    with pytest.raises(BenchError, match="bias names two parameters"):
        DessiLBI(groups, 0.1)


def test_the_state_of_another_optimizer_is_refused():
    layer = nn.Linear(3, 2)
    state = torch.optim.SGD(layer.parameters(), 0.1).state_dict()
    with pytest.raises(BenchError, match="that of another optimizer: group 0 has no"):
        DessiLBI(layer.named_parameters(), 0.1).load_state_dict(state)


def test_the_mask_of_an_embedding_is_applied():
    network = nn.Sequential(nn.Embedding(4, 3), nn.Flatten(), nn.Linear(6, 2))
    masks = DessiLBI(network.named_parameters(), 0.1).mask(0.5)
    masks.apply(network)
    assert int(network[0].weight.count_nonzero()) == masks.kept_by_layer()["0.weight"]
