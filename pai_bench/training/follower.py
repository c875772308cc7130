"""A node that takes part in what node 0 trains: it chooses nothing, and writes no results."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from pai_bench.core import kernels, processes
from pai_bench.core.errors import BenchError
from pai_bench.core.node import Node
from pai_bench.training.checkpoint import Halt
from pai_bench.training.meeting import PACE, SILENCE, Meeting, NodeLost, Pulse, Report
from pai_bench.training.outcome import Outcome
from pai_bench.training.rank import Rank
from pai_bench.training.rank_processes import RankProcesses
from pai_bench.training.shared_training import SharedTraining


def follow(node: Node, say: Callable[[str], None]) -> None:
    """Take part in all that node 0 trains, until it says that it is over.

    Raises:
        BenchError: Node 0 is gone, or something has ended it.
    """
    meeting = Meeting(node)
    with meeting.beating(f"beat/{node.number}"):
        say(f"node {node.number} of {node.size}: trains what node 0 at {node.host} does")
        reason = "it was ended"
        try:
            _Follower(meeting).follow()
            reason = ""
        finally:
            meeting.leave(reason)


class _IsOver(Exception):
    """Node 0 has ended a training."""


class _Follower:
    """Takes part in one training after another."""

    def __init__(self, meeting: Meeting) -> None:
        self._meeting, self._round = meeting, 0
        self._node_0 = Pulse(meeting, "beat/0")

    def follow(self) -> None:
        """Train until node 0 says that it is over. Raises as `follow`."""
        while not processes.is_asked_to_end():
            if (text := self._meeting.read(f"round/{self._round + 1}")) is not None:
                self._round += 1
                self._take_part(SharedTraining.of_json(text))
            elif (reason := self._meeting.read("over")) is None:
                self._look_for_node_0()
            elif reason:
                raise BenchError(f"node 0 has ended: {reason}")
            else:
                return

    def _look_for_node_0(self) -> None:
        if self._node_0.silence() > SILENCE:
            raise NodeLost(0)
        time.sleep(PACE / 5)

    def _take_part(self, training: SharedTraining) -> None:
        """Train with node 0, and tell it what became of that."""
        try:
            self._train(training)
        except _IsOver:
            return
        except Halt:
            self._report(Report("done"))
        except BenchError as error:
            self._report(Report("fault", str(error)))

    def _train(self, training: SharedTraining) -> None:
        """Train until node 0 says that all are done: others may still talk to processes here."""
        setup = training.setup()
        ranks = _ranks(training, self._meeting.node)
        pulse = Pulse(self._meeting, f"round/{self._round}/beat")

        def look() -> None:
            if self._meeting.read(f"round/{self._round}/end") is not None:
                raise _IsOver
            if pulse.silence() > SILENCE:
                raise NodeLost(0)

        look()
        os.environ.update(kernels.choose(setup.settings.portable, setup.settings.threads))
        with RankProcesses(ranks, training.bundle, setup) as started:
            self._report(_report(started.outcome(look)))
            while True:
                look()
                time.sleep(PACE / 5)

    def _report(self, report: Report) -> None:
        self._meeting.report(self._round, report)


def _ranks(training: SharedTraining, node: Node) -> list[Rank]:
    """The ranks of this node."""
    here = training.hardware.ranks
    if here != training.ranks:
        raise BenchError(
            f"it has {here} devices, node 0 has {training.ranks}: say how many with --devices"
        )
    first, size = node.number * here, node.size * here
    return [
        Rank(first + number, size, training.port, node.host, node.size) for number in range(here)
    ]


def _report(outcome: Outcome) -> Report:
    result = outcome.result
    if result.status == "failed":
        return Report("failed", result.reason, result.traceback)
    return Report("done")
