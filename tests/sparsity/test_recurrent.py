"""Weights on a path, and costs, of recurrent and attention modules, against what outputs do."""

import pytest
import torch
from torch import nn

from pai_bench.sparsity.account import effective, macs_by_layer
from pai_bench.sparsity.masks import Masks, prunable


class Sequences(nn.Module):
    """A module of torch on sequences (N, 1, L, units), and a linear layer on its last outputs."""

    def __init__(self, module, width, attention=False):
        super().__init__()
        self.module, self.attention = module, attention
        module.prunable_parameters = tuple(
            name for name, p in module.named_parameters(recurse=False) if p.dim() > 1
        )
        self.last = nn.Linear(width, 3)

    def forward(self, inputs):
        signal = inputs[:, 0]
        if self.attention:
            signal, _ = self.module(signal, signal, signal, need_weights=False)
        else:
            signal, _ = self.module(signal)
        return self.last(signal[:, -1])


MODULES = {
    "rnn": lambda: Sequences(nn.RNN(5, 6, batch_first=True), 6),
    "lstm": lambda: Sequences(nn.LSTM(5, 6, batch_first=True), 6),
    "gru": lambda: Sequences(nn.GRU(5, 6, batch_first=True), 6),
    "two layers": lambda: Sequences(nn.LSTM(5, 4, num_layers=2, batch_first=True), 4),
    "both directions": lambda: Sequences(nn.GRU(5, 4, bidirectional=True, batch_first=True), 8),
    "projected": lambda: Sequences(nn.LSTM(5, 6, proj_size=3, batch_first=True), 3),
    "attention": lambda: Sequences(nn.MultiheadAttention(6, 2, batch_first=True), 6, True),
}
SHAPES = {name: (1, 3, 6 if name == "attention" else 5) for name in MODULES}


def that_matter(network, masks, shape):
    """Kept weights whose change changes an output, for one of many inputs: brute force."""
    masks.apply(network)
    inputs = torch.randn(64, *shape, dtype=torch.float64)
    found = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    with torch.no_grad():
        before = network(inputs)
        for name, weight in prunable(network):
            for position in masks[name].nonzero().tolist():
                index = tuple(position)
                value = weight[index].item()
                weight[index] = value + 0.5
                found[name][index] = bool((network(inputs) - before).abs().max() > 1e-12)
                weight[index] = value
    return found


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", MODULES)
def test_weights_whose_change_is_seen_are_on_a_path(name, seed):
    torch.manual_seed(seed)
    network = MODULES[name]().double().eval()
    for _, parameter in network.named_parameters():
        nn.init.normal_(parameter, std=0.7)
        if parameter.dim() == 1:
            nn.init.zeros_(parameter)  # with biases, units matter that no input reaches
    masks = Masks({n: torch.rand(w.shape) < 0.15 for n, w in prunable(network)})
    found = effective(network, masks, SHAPES[name])
    expected = that_matter(network, masks, SHAPES[name])
    for key, mask in expected.items():
        assert not bool((mask & ~found[key]).any()), key
        if name in ("rnn", "attention"):
            assert torch.equal(found[key], mask), key


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_gates_reach_what_one_gate_of_their_sum_reaches(name):
    """A gate acts on what others let through: here each counts as if it were alone."""
    torch.manual_seed(3)
    network, single = MODULES[name](), MODULES["rnn"]()
    masks = Masks({n: torch.rand(w.shape) < 0.2 for n, w in prunable(network)})
    gates = len(masks["module.weight_hh_l0"]) // 6
    merged = {n: m.unflatten(0, (gates, 6)).any(0) for n, m in masks.items() if "module" in n}
    merged["module.weight_hh_l0"] |= torch.eye(6, dtype=torch.bool)  # what a cell remembers
    of_single = effective(single, Masks({**merged, "last.weight": masks["last.weight"]}), (1, 3, 5))
    found = effective(network, masks, (1, 3, 5))
    for key, mask in masks.items():
        whole = of_single[key].repeat(gates, 1) if "module" in key else of_single[key]
        assert torch.equal(found[key], mask & whole), key


def test_costs_are_those_of_every_step():
    costs = macs_by_layer(MODULES["lstm"](), SHAPES["lstm"])
    assert costs == {
        "module.weight_ih_l0": 3 * 24 * 5, "module.weight_hh_l0": 3 * 24 * 6, "last.weight": 18,
    }  # fmt: skip
    attention = macs_by_layer(MODULES["attention"](), SHAPES["attention"])
    assert attention == {
        "module.in_proj_weight": 3 * 18 * 6, "module.out_proj.weight": 3 * 36, "last.weight": 18,
    }  # fmt: skip


def test_matrices_that_are_not_prunable_are_whole_and_their_costs_counted():
    network = MODULES["gru"]()
    network.module.prunable_parameters = ()
    masks = Masks.ones(network)
    assert effective(network, masks, SHAPES["gru"]).kept == masks.kept
    assert macs_by_layer(network, SHAPES["gru"])["module.weight_ih_l0"] == 3 * 18 * 5
