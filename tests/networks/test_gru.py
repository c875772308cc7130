"""RigL's character model: torch's own GRU, sizes and costs by hand, masks of recurrent weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pai_bench import networks
from pai_bench.config.schema import Network
from pai_bench.core.errors import BenchError
from pai_bench.networks.describe import describe
from pai_bench.networks.gru import GRU, CharacterModel, Widths, gru_rigl, gru_rigl_untied
from pai_bench.sparsity import account
from pai_bench.sparsity.masks import Masks, prunable

SMALL = Widths(embedding=3, state=4, readout=5)
SYMBOLS = 6


def copied(gru, inputs, state):
    """torch.nn.GRU with the same weights."""
    reference = nn.GRU(inputs, state, batch_first=True, dtype=gru.input.weight.dtype)
    with torch.no_grad():
        for layer, part in ((gru.input, "ih"), (gru.recurrent, "hh")):
            getattr(reference, f"weight_{part}_l0").copy_(layer.weight)
            getattr(reference, f"bias_{part}_l0").copy_(layer.bias)
    return reference


@pytest.mark.parametrize(("kind", "near"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_states_and_gradients_are_those_of_torch(kind, near):
    torch.manual_seed(0)
    gru = GRU(5, 7).to(kind)
    reference = copied(gru, 5, 7)
    inputs, weights = torch.randn(3, 11, 5, dtype=kind), torch.randn(3, 11, 7, dtype=kind)
    states, expected = gru(inputs), reference(inputs)[0]
    assert states.shape == (3, 11, 7)
    assert torch.allclose(states, expected, rtol=near, atol=near)
    (states * weights).mean().backward()
    (expected * weights).mean().backward()
    for layer, part in ((gru.input, "ih"), (gru.recurrent, "hh")):
        gradient = getattr(reference, f"weight_{part}_l0").grad
        assert torch.allclose(layer.weight.grad, gradient, rtol=10 * near, atol=near)


def test_a_gru_starts_as_that_of_torch_does():
    torch.manual_seed(0)
    gru = GRU(128, 512)
    for parameter in gru.parameters():
        assert 0.99 < float(parameter.detach().abs().max()) * 512**0.5 < 1 + 1e-6
        assert float(parameter.detach().std()) * 1536**0.5 == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_by_its_definition(tied):
    torch.manual_seed(1)
    model = CharacterModel(SYMBOLS, tied, SMALL).double()
    symbols = torch.randint(0, SYMBOLS, (2, 9))
    state = model.state_dict()
    table = state["embedding.weight"]
    hidden = copied(model.gru, 3, 4)(table[symbols])[0]
    hidden = F.linear(hidden, state["readout.fc1.weight"], state["readout.fc1.bias"]).relu()
    hidden = F.linear(hidden, state["readout.fc2.weight"], state["readout.fc2.bias"])
    if tied:
        logits = hidden @ table.T
    else:
        logits = F.linear(hidden, state["logits.weight"], state["logits.bias"])
    found = model(symbols[:, None, None].double())
    assert found.shape == (2, SYMBOLS, 9)
    assert torch.allclose(found, logits.transpose(1, 2), rtol=1e-12, atol=1e-12)


def test_a_prediction_does_not_see_what_follows():
    torch.manual_seed(2)
    model = CharacterModel(SYMBOLS, True, SMALL)
    symbols = torch.randint(0, SYMBOLS, (4, 1, 1, 10)).float()
    changed = symbols.clone()
    changed[..., 6:] = (changed[..., 6:] + 1) % SYMBOLS
    one, other = model(symbols), model(changed)
    assert torch.equal(one[..., :6], other[..., :6])
    assert not torch.allclose(one[..., 6:], other[..., 6:])


def test_noise_for_inputs_becomes_symbols():
    model = CharacterModel(SYMBOLS, True, SMALL)
    noise = torch.tensor([-3.7, 0.2, 2.9, 99.0]).view(1, 1, 1, 4)
    assert torch.equal(model(noise), model(torch.tensor([0, 0, 2, 5]).view(1, 1, 1, 4)))


def test_the_papers_model_has_the_size_of_its_widths():
    """512 states from 128 inputs by three gates with two biases, 256 and 128 units, 256 symbols."""
    gates, readout = 3 * 512 * (128 + 512), 512 * 256 + 256 * 128
    found = describe(Network(build="pai_bench.networks.gru:gru_rigl"), (1, 1, 16), 256)
    assert found.prunable == gates + readout == 1_146_880
    assert found.parameters == 256 * 128 + gates + 2 * 3 * 512 + readout + 256 + 128
    assert found.macs == 16 * (gates + readout + 128 * 256)
    untied = describe(Network(build="pai_bench.networks.gru:gru_rigl_untied"), (1, 1, 16), 256)
    assert untied.prunable == found.prunable + 128 * 256
    assert untied.parameters == found.parameters + 128 * 256 + 256


def test_recurrent_matrices_are_masked_and_the_embedding_never():
    with torch.device("meta"):
        tied, untied = gru_rigl((1, 1, 8), 256), gru_rigl_untied((1, 1, 8), 256)
    layers = ["gru.input", "gru.recurrent", "readout.fc1", "readout.fc2"]
    assert [name for name, _ in prunable(tied)] == [f"{name}.weight" for name in layers]
    assert [n for n, _ in prunable(untied)] == [f"{n}.weight" for n in (*layers, "logits")]
    assert tied.logits.weight is tied.embedding.weight
    assert untied.logits.weight is not untied.embedding.weight


def test_costs_are_counted_for_every_step_and_kept_weight():
    model = CharacterModel(SYMBOLS, True, SMALL)
    macs = account.macs_by_layer(model, (1, 1, 7))
    by_hand = {"gru.input": 3 * 12, "gru.recurrent": 4 * 12, "readout.fc1": 4 * 5}
    by_hand |= {"readout.fc2": 5 * 3, "logits": 3 * SYMBOLS}
    assert macs == {f"{name}.weight": 7 * count for name, count in by_hand.items()}
    masks = Masks.ones(model)
    masks["gru.recurrent.weight"][:, 2:] = False
    saved = 2 * 7 * 24
    assert account.inference_flops(macs, masks) == 2 * sum(macs.values()) - saved


def on_a_path(masks):
    """Masks of the weights between input and output, by following the units of SMALL."""
    layers = ("gru.input", "gru.recurrent", "readout.fc1", "readout.fc2")
    into, between, fc1, fc2 = (masks[f"{name}.weight"] for name in layers)
    logits = masks.get("logits.weight", torch.ones(SYMBOLS, SMALL.embedding, dtype=torch.bool))
    state, gates = SMALL.state, torch.arange(3 * SMALL.state) % SMALL.state

    def units(rows):
        """Units of which some gate is set in `rows`."""
        return torch.stack([rows[gates == unit].any() for unit in range(state)])

    ahead = units(into.any(1))
    for _ in range(state):
        ahead = ahead | units((between & ahead).any(1))
    hidden = (fc1 & ahead).any(1)
    last = (fc2 & logits.any(0)[:, None]).any(0)
    back = (fc1 & last[:, None]).any(0)
    for _ in range(state):
        back = back | (between & back[gates][:, None]).any(0)
    found = {
        "gru.input.weight": into & back[gates][:, None],
        "gru.recurrent.weight": between & ahead & back[gates][:, None],
        "readout.fc1.weight": fc1 & ahead & last[:, None],
        "readout.fc2.weight": fc2 & hidden & logits.any(0)[:, None],
        "logits.weight": logits & (fc2 & hidden).any(1),
    }
    return {name: found[name] for name in masks}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("density", [0.1, 0.2, 0.4, 1.0])
def test_effective_weights_are_those_on_a_path_through_gates_and_time(density, tied):
    torch.manual_seed(round(10 * density))
    model = CharacterModel(SYMBOLS, tied, SMALL)
    for _ in range(10):
        masks = Masks({n: torch.rand_like(w) < density for n, w in prunable(model)})
        found, expected = account.effective(model, masks, (1, 1, 12)), on_a_path(masks)
        assert all(torch.equal(found[name], expected[name]) for name in masks)


def test_taking_out_what_is_not_effective_changes_nothing():
    torch.manual_seed(3)
    model = CharacterModel(SYMBOLS, True, SMALL)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    masks = Masks({n: torch.rand_like(w) < 0.3 for n, w in prunable(model)})
    masks.apply(model)
    symbols = torch.randint(0, SYMBOLS, (4, 1, 1, 12))
    before = model(symbols)
    reached = account.effective(model, masks, (1, 1, 12))
    assert reached.kept < masks.kept
    reached.apply(model)
    assert torch.allclose(before, model(symbols), atol=1e-7)


def test_images_are_refused_in_one_line():
    with pytest.raises(BenchError, match=r"^[^\n]*takes sequences of symbols[^\n]*$"):
        networks.build(Network(build="pai_bench.networks.gru:gru_rigl"), (1, 28, 28), 10)
