"""The collector of cycles is paused while results are read, and then as it was."""

import gc

import pytest

from pai_bench.leaderboard.gc_paused import gc_paused


@pytest.fixture(autouse=True)
def on():
    gc.enable()
    yield
    gc.enable()


def test_it_is_off_inside_and_on_again_afterwards():
    with gc_paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_on_again_after_an_error():
    with pytest.raises(ValueError, match="broken"), gc_paused():
        raise ValueError("broken")
    assert gc.isenabled()


def test_where_it_was_off_it_stays_off():
    gc.disable()
    with gc_paused():
        pass
    assert not gc.isenabled()
