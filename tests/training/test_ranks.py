"""Two processes with different data end with the masks of one process with all of it."""

import importlib
import multiprocessing
import socket
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranks():
    """The module `two_ranks`, which processes of their own can import by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("tests.training.two_ranks")


@pytest.fixture(scope="module")
def outcomes(ranks, tmp_path_factory):
    """What the two ranks have at the end, and the one process."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["pai_bench.launch.preload"])
    paths = [folder / f"{rank}.pt" for rank in (0, 1)]
    started = [
        processes.Process(target=ranks.save, args=(rank, 2, port, path), daemon=True)
        for rank, path in enumerate(paths)
    ]
    for process in started:
        process.start()
    alone = ranks.outcomes(0, 1)
    for process in started:
        process.join(200)
        assert process.exitcode == 0
    return [*(torch.load(path) for path in paths), alone]


@pytest.mark.slow
def test_ranks_agree_with_each_other_and_with_one_process(outcomes):
    assert len(outcomes[2]) == 5
    for way, alone in outcomes[2].items():
        first, second = outcomes[0][way], outcomes[1][way]
        assert alone["moved"], way
        for name, mask in alone["masks"].items():
            assert torch.equal(first["masks"][name], second["masks"][name]), way
            assert torch.equal(first["masks"][name], mask), way
        for name, tensor in alone["state"].items():
            assert torch.equal(first["state"][name], second["state"][name]), way
            torch.testing.assert_close(first["state"][name], tensor, rtol=1e-3, atol=1e-5)
