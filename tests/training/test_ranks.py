"""Two processes with different data end with the masks of one process with all of it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("two_ranks.py")


def start(rank, ranks, path, port):
    """One process of a gloo group on this machine; a lone one needs no group."""
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    surroundings = {**os.environ, "PYTHONPATH": paths}
    if ranks > 1:
        surroundings |= {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks),
            "RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0",
        }  # fmt: skip
    command = [sys.executable, str(SCRIPT), str(rank), str(ranks), str(path)]
    return subprocess.Popen(
        command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What the two ranks have at the end, and the one process."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runs = [(0, 2), (1, 2), (0, 1)]
    paths = [folder / f"{rank}-of-{ranks}.pt" for rank, ranks in runs]
    started = [start(*run, path, port) for run, path in zip(runs, paths, strict=True)]
    for process in started:
        said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said
    return [torch.load(path) for path in paths]


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
