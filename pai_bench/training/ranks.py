"""Train one network on several devices: a process for each of them, of which this one is none.

The processes do the same, each on its part of every batch (see core/distributed.py); the first one
writes checkpoints and has the outcome. One that fails ends all. Asked to end, by a signal or
because this process is gone, they write a checkpoint before they do. Where the devices are of
several nodes, this is node 0, and others follow it (training/follower.py).
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from pai_bench.config.schema import Recipe
from pai_bench.core import processes
from pai_bench.core.errors import BenchError
from pai_bench.core.machine import MachineFault
from pai_bench.core.node import Node, this_node
from pai_bench.experiment.bundle import Bundle
from pai_bench.networks.batch_norm import check_parts
from pai_bench.training.checkpoint import LeaseLost, OutOfTime
from pai_bench.training.failure import Failure
from pai_bench.training.meeting import PACE, SILENCE, Meeting, NodeLost, Pulse
from pai_bench.training.outcome import Outcome
from pai_bench.training.rank import LOCALHOST, Rank
from pai_bench.training.rank_processes import RankProcesses
from pai_bench.training.setup import TrainingSetup
from pai_bench.training.shared_training import SharedTraining

DOUBT = 5.0
"""Seconds that a node has for a word, once a process here has failed: that may be for its end."""


def fit_on_ranks(bundle: Bundle, setup: TrainingSetup) -> Outcome:
    """Train the network of a bundle of one cell on the devices of `setup`.

    Raises:
        BenchError: The hardware is not available, or the recipe does not fit to it.
        MachineFault: A process was ended by the system, or a node is gone.
        OutOfTime: The deadline has passed.
        LeaseLost: Another process has taken the bundle over.
    """
    hardware = setup.hardware
    size = hardware.ranks * hardware.nodes
    _check(bundle.cells[0].recipe, size, hardware.accumulate)
    port = _free_port()
    with ExitStack() as stack:
        others = None
        host = LOCALHOST
        if hardware.nodes > 1:
            node = this_node(hardware.nodes)
            host = node.host
            others = OtherNodes(node, SharedTraining.of(bundle, setup, port), stack)
        ranks = [Rank(n, size, port, host, hardware.nodes) for n in range(hardware.ranks)]

        def look() -> Outcome | None:
            if setup.is_lost(False):
                raise LeaseLost
            return others.look() if others else None

        started = stack.enter_context(RankProcesses(ranks, bundle, setup))
        try:
            outcome = started.outcome(look)
        except OutOfTime:
            if others and time.time() < setup.deadline and not processes.is_asked_to_end():
                others.explain_stop()
            raise
        return others.joined(outcome) if others else outcome


class OtherNodes:
    """The nodes that follow this one in a training.

    Args:
        node: This one.
        training: What they are told to train.
        stack: What ends with the training.
    """

    def __init__(self, node: Node, training: SharedTraining, stack: ExitStack) -> None:
        self._meeting = meeting = Meeting(node, patience=SILENCE)
        self._round = number = meeting.next_round()
        self._pulses = {other: Pulse(meeting, f"beat/{other}") for other in node.others}
        stack.enter_context(meeting.beating(f"round/{number}/beat"))
        meeting.write(f"round/{number}", training.as_json())
        stack.callback(meeting.write, f"round/{number}/end", "")

    def look(self, patience: float = SILENCE) -> Outcome | None:
        """Return what has failed on another node, if anything has.

        Raises:
            MachineFault: One is gone, or its machine is at fault.
        """
        for number, pulse in self._pulses.items():
            report = self._meeting.reported(self._round, number)
            if report is not None and report.kind == "failed":
                return Failure(report.reason, report.trace).outcome(0.0)
            if report is not None and report.kind == "fault":
                raise MachineFault(f"node {number}: {report.reason}")
            if self._meeting.has_left(number):
                raise NodeLost(number, "takes part no more")
            if pulse.silence() > patience:
                raise NodeLost(number)
        return None

    def joined(self, outcome: Outcome) -> Outcome:
        """Return what the training ended with, when all nodes are done with it.

        After a failure here they are not waited for, but they may have caused it: one that is gone
        closes the connections of processes to its own.
        """
        failed = outcome.result.status == "failed"
        before = {number: pulse.beats for number, pulse in self._pulses.items()}
        while self._are_awaited(before if failed else None):
            found = self.look(DOUBT if failed else SILENCE)
            if found is not None:
                return found
            time.sleep(PACE / 5)
        return outcome

    def explain_stop(self) -> None:
        """Wait until it is clear which node has stopped the training: that is none of time.

        Raises:
            MachineFault: This node, where there is one.
        """
        until = time.monotonic() + 2 * DOUBT
        while time.monotonic() < until:
            self.look(DOUBT)
            time.sleep(PACE / 5)

    def _are_awaited(self, before: dict[int, int] | None) -> bool:
        """Whether a node is not done; or, since a failure, has not been heard of for two beats."""
        return any(
            pulse.beats < before[number] + 3
            if before is not None
            else self._meeting.reported(self._round, number) is None
            for number, pulse in self._pulses.items()
        )


def _check(recipe: Recipe, ranks: int, pieces: int) -> None:
    if recipe.batch_size < ranks * pieces:
        raise BenchError(
            f"a batch of {recipe.batch_size} cannot be divided among {ranks} devices"
            f"{f' in {pieces} pieces each' if pieces > 1 else ''}: use fewer"
        )
    check_parts(recipe.batch_norm_parts, ranks)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])
