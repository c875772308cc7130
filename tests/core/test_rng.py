"""Global random states: seeded by a stream for a while, and put back."""

import random

import numpy as np
import pytest
import torch

from pai_bench.core.rng import RandomStreams, unchanged_random_state


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_every_generator_draws_from_the_stream_and_goes_on_as_before():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draws()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with RandomStreams(7).as_global("score"):
        one = draws()
    assert draws() == expected
    with RandomStreams(7).as_global("score"):
        assert draws() == one
    with RandomStreams(7).as_global("mask"):
        assert not set(draws()) & set(one)


def test_states_are_put_back_after_an_error():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draws()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)

    def stopped():
        with unchanged_random_state():
            draws()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stopped()
    assert draws() == expected
