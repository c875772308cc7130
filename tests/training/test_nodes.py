"""Two nodes, here two sessions of processes, train one network; either may die."""

import importlib
import socket
import time
from pathlib import Path

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.core.node import Node, this_node
from pai_bench.store.store import Store
from pai_bench.training import meeting as meetings
from pai_bench.training import ranks
from pai_bench.training.follower import _ranks, follow
from pai_bench.training.meeting import Meeting, NodeLost, Pulse, Report, served
from pai_bench.training.rank import Environment

ROOT = Path(__file__).parents[2]
SUITE = ("run", "quick", "--methods", "often", "--densities", "0.2", "--seeds", "1",
         "--accelerator", "cpu", "--precision", "64-true", "--wandb", "disabled",
         "--set", "epochs=4", "--set", "batch_size=100", "--plugin", "often.py")  # fmt: skip
LINE = "quick+epochs=4+batch_size=100"
RUNS = ("both", "alone")
OFTEN = """
from pai_bench import register
from pai_bench.reproductions.rigl.method import RigL
from pai_bench.training.checkpoint import TrainingCheckpoint

TrainingCheckpoint.every = 0.0

@register("often")
class Often(RigL):
    pass
"""


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def start(port, tmp_path, monkeypatch):
    """Start a command of ours as one of two nodes."""
    monkeypatch.syspath_prepend(ROOT)
    node_process = importlib.import_module("tests.training.node_process")
    (tmp_path / "often.py").write_text(OFTEN)
    started = []

    def start(number, *arguments):
        started.append(node_process.NodeProcess(number, port, tmp_path, *arguments))
        return started[-1]

    yield start
    for node in started:
        node.die()


@pytest.mark.slow
def test_a_node_dies_and_the_same_command_ends_as_one_process_does(
    start, port, tmp_path, call, monkeypatch
):
    both = (*SUITE, "--strategy", "ddp", "--nodes", "2", "--runs", "both")
    first, second = (start(number, *both) for number in (0, 1))
    while not list(tmp_path.glob("both/checkpoints/*.ckpt")):
        assert first.process.is_alive(), first.said()
        time.sleep(0.01)
    second.die()
    first.process.join(60)
    assert first.process.exitcode == 2, first.said()
    last = first.said().splitlines()[-1]
    assert last.startswith("pai-bench: error: ")
    assert "node 1 does not answer any more, which ends the training: what is stored" in last
    assert Store(tmp_path / "both", LINE).ids() == []

    second = start(1, *both)
    for name, value in second.variables(0).items():
        monkeypatch.setenv(name, value)
    code, _, said = call(*both)
    assert code == 0, said
    second.process.join(30)
    assert second.process.exitcode == 0, second.said()
    assert call(*SUITE, "--jobs", "1", "--runs", "alone")[0] == 0
    (together,), (alone,) = (list(Store(tmp_path / runs, LINE).entries()) for runs in RUNS)
    assert together.result.environment["resumed"] == 1
    trained = together.result.environment["training"]
    assert (trained["devices"], trained["nodes"]) == (2, 2)
    masks = [(entry.folder / "masks.safetensors").read_bytes() for entry in (together, alone)]
    assert masks[0] == masks[1]
    assert together.result.accuracy == alone.result.accuracy


def test_a_node_whose_first_one_dies_ends_with_one_line(start, port, monkeypatch):
    first = start(0, *SUITE, "--strategy", "ddp", "--nodes", "2", "--set", "epochs=900")
    monkeypatch.setattr(meetings, "JOINING", 60.0)

    def say(line):
        first.die()

    with pytest.raises(NodeLost, match="node 0 does not answer any more"):
        follow(Node(1, 2, "127.0.0.1", port), say)


@pytest.fixture
def nodes(port):
    """Node 0 with its store, and node 1."""
    one, other = (Node(number, 2, "127.0.0.1", port) for number in (0, 1))
    return Meeting(one, serves=True), Meeting(other)


class Training:
    """What node 0 has others train, where that does not matter."""

    def as_json(self):
        return "{}"


def test_node_0_hears_what_others_say(nodes, monkeypatch):
    first, second = nodes
    monkeypatch.setattr(ranks, "Meeting", lambda node, patience: first)

    def heard(others):
        """What comes next: the store sends what is written when it can."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if (outcome := others.look()) is not None:
                return outcome.result.reason
        return "nothing"

    with ranks.ExitStack() as stack, second.beating("beat/1"):
        others = ranks.OtherNodes(first.node, Training(), stack)
        assert others.look() is None
        second.report(1, Report("failed", "ValueError: of node 1", "trace"))
        assert heard(others) == "ValueError: of node 1"
        second.report(1, Report("fault", "its disk is full"))
        with pytest.raises(BenchError, match="node 1: its disk is full"):
            all(iter(lambda: heard(others), "nothing"))
        second.report(1, Report("done"))
        second.leave("it was ended")
        with pytest.raises(NodeLost, match="node 1 takes part no more"):
            heard(others)


def test_who_says_nothing_is_noticed(nodes):
    first, second = nodes
    pulse = Pulse(first, "beat/1")
    with second.beating("beat/1"):
        until = time.monotonic() + 10
        while pulse.beats < 3 and time.monotonic() < until:
            pulse.silence()
    assert pulse.beats >= 3
    pulse.silence()
    time.sleep(0.05)
    assert pulse.silence() >= 0.05


def test_nodes_that_do_not_come_are_named(port, monkeypatch):
    monkeypatch.setattr(meetings, "JOINING", 0.1)
    heard = []
    with (
        pytest.raises(BenchError, match="node 1, 2 has not come within 0 minutes"),
        served(Node(0, 3, "127.0.0.1", port), heard.append),
    ):
        pass
    assert heard == [f"waiting for the other nodes at 127.0.0.1:{port}"]
    with pytest.raises(BenchError, match="does not answer: does node 0 run there"):
        Meeting(Node(1, 2, "127.0.0.1", port), patience=0.1)


SLURM = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "98765",
         "SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_JOB_NODELIST": "gpu[01-08]"}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        (SLURM, Node(1, 2, "gpu07", 23765)),
        (SLURM | {"MASTER_ADDR": "10.0.0.1"}, Node(1, 2, "10.0.0.1", 23765)),
        (
            {"MASTER_ADDR": "a", "MASTER_PORT": "9", "RANK": "1", "WORLD_SIZE": "2",
             "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "1"},
            Node(1, 2, "a", 9, True, "1"),
        ),
        ({"MASTER_ADDR": "a", "MASTER_PORT": "9", "NODE_RANK": "0"}, Node(0, 2, "a", 9)),
        ({}, "which of them is this"),
        (SLURM | {"SLURM_NTASKS": "8"}, "8 processes were started: start one on each node"),
        ({"MASTER_ADDR": "a", "MASTER_PORT": "x", "RANK": "0"}, "not a port: 'x'"),
        ({"MASTER_ADDR": "a", "MASTER_PORT": "9", "RANK": "2"}, "a node is number 2"),
    ],
)  # fmt: skip
def test_the_environment_says_which_node_this_is(variables, found):
    if isinstance(found, Node):
        assert this_node(2, variables) == found
    else:
        with pytest.raises(BenchError, match=found):
            this_node(2, variables)


def test_ranks_are_counted_through_the_nodes():
    class Asked:
        hardware, ranks, port = Hardware("cpu", "3", "ddp", nodes=2), 3, 5

    found = _ranks(Asked, Node(1, 2, "a", 9))
    assert [rank.number for rank in found] == [3, 4, 5]
    assert {(rank.size, rank.here) for rank in found} == {(6, 3)}
    assert [Environment(rank).local_rank() for rank in found] == [0, 1, 2]
    assert {Environment(rank).node_rank() for rank in found} == {1}
    Asked.ranks = 4
    with pytest.raises(BenchError, match="it has 3 devices, node 0 has 4: say how many"):
        _ranks(Asked, Node(1, 2, "a", 9))


def test_what_several_nodes_cannot_do_is_one_line(call):
    refused = ("run", "quick", "--nodes", "2")
    assert "2 nodes train each network together: add --strategy ddp" in call(*refused)[2]
    refused = (*refused, "--strategy", "ddp")
    assert "which of them is this, and where is the first" in call(*refused)[2]
    assert "leave out --jobs" in call(*refused, "--jobs", "2")[2]
