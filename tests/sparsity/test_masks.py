"""Masks: which weights they cover, what they count, and how they are applied and kept."""

import pytest
import torch
from torch import nn

from pai_bench.sparsity.masks import Masks, prunable


def network():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4, bias=False)),
        nn.LayerNorm(4),
        nn.Conv1d(1, 1, 1),
    )


def some(seed=0):
    random = torch.Generator().manual_seed(seed)
    return Masks({n: torch.rand(w.shape, generator=random) < 0.5 for n, w in prunable(network())})


def test_weights_of_layers_are_prunable_and_nothing_else_is():
    assert [name for name, _ in prunable(network())] == ["0.weight", "3.1.weight", "5.weight"]


def test_a_single_layer_is_prunable():
    assert [name for name, _ in prunable(nn.Linear(2, 2))] == ["weight"]


def test_prunable_names_are_those_of_the_parameters():
    net = network()
    parameters = dict(net.named_parameters())
    assert all(parameters[name] is weight for name, weight in prunable(net))


def test_ones_keep_everything():
    masks = Masks.ones(network())
    assert (masks.total, masks.kept, masks.density()) == (54 + 12 + 1, 67, 1.0)
    assert masks.collapsed() == []


def test_counts_are_those_of_the_true_entries():
    masks = some()
    flat = {name: sum(mask.flatten().tolist()) for name, mask in masks.items()}
    assert masks.kept_by_layer() == flat
    assert masks.kept == sum(flat.values())
    assert masks.density() == sum(flat.values()) / 67


def test_a_layer_of_which_nothing_is_kept_is_collapsed():
    masks = Masks({**Masks.ones(network()), "3.1.weight": torch.zeros(4, 3, dtype=torch.bool)})
    assert masks.collapsed() == ["3.1.weight"]


def test_applying_puts_zeros_at_masked_weights_and_touches_nothing_else():
    net, masks = network(), some()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    masks.apply(net)
    for name, tensor in net.state_dict().items():
        expected = torch.where(masks[name], before[name], 0.0) if name in masks else before[name]
        assert torch.equal(tensor, expected), name
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
def test_only_bool_tensors_are_masks(dtype):
    with pytest.raises(TypeError, match=r"mask w must be bool"):
        Masks({"w": torch.ones(2, dtype=dtype)})


def test_masks_survive_a_file(tmp_path):
    masks = Masks({**some(), "transposed": some()["3.1.weight"].T})
    masks.save(tmp_path / "masks.safetensors")
    (tmp_path / "other").touch()
    modes = [(tmp_path / name).stat().st_mode for name in ("masks.safetensors", "other")]
    assert modes[0] == modes[1]
    back = Masks.load(tmp_path / "masks.safetensors")
    assert set(back) == set(masks)
    assert all(torch.equal(back[name], masks[name]) for name in masks)
    assert all(mask.dtype == torch.bool for mask in back.values())


def test_adding_to_what_masks_were_made_of_adds_no_mask():
    given = dict(some())
    masks = Masks(given)
    given["more"] = torch.ones(1, dtype=torch.bool)
    assert "more" not in masks
    assert len(masks) == 3
