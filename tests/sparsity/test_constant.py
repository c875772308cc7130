"""Layers whose scores say nothing."""

import pytest
import torch

from pai_bench.sparsity.constant import constant_layers


def alive(scores, masks=None):
    return {n: torch.ones_like(s, dtype=torch.bool) for n, s in scores.items()} | (masks or {})


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_zeros_and_equal_scores_are_found_others_are_not(dtype):
    scores = {
        "zero": torch.zeros(2, 3, dtype=dtype),
        "equal": torch.full((4,), 0.1, dtype=dtype),
        "differs": torch.tensor([1.0, 1.0, 1.1], dtype=dtype),
        "one": torch.tensor([[2.0]], dtype=dtype),
        "negative": torch.tensor([-3.0, -3.0], dtype=dtype),
    }
    assert constant_layers(scores, alive(scores)) == ["zero", "equal", "negative"]


def test_rounding_counts_as_equal_and_a_real_difference_does_not():
    near = torch.tensor([1.0, 1.0 + 2**-23])
    scores = {"near": near, "far": torch.tensor([1.0, 1.0 + 2**-18])}
    assert constant_layers(scores, alive(scores)) == ["near"]


def test_only_weights_that_are_alive_count():
    scores = {"a": torch.tensor([0.0, 5.0, 5.0]), "b": torch.tensor([0.0, 0.0, 1.0])}
    masks = {"a": torch.tensor([False, True, True]), "b": torch.tensor([False, False, True])}
    assert constant_layers(scores, alive(scores)) == []
    assert constant_layers(scores, masks) == ["a"]
    assert constant_layers({}, {}) == []
