"""Where the nodes that train one network meet: a store of keys that node 0 serves to all.

    left/<m>                 a node takes part no more
    over                     why there is nothing more to train; empty where all went well
    rounds                   number of trainings so far
    round/<n>                what is trained, as JSON
    round/<n>/end            it is over
    round/<n>/node/<m>       what another node says of its part: a `Report`, as JSON
    beat/<m>, round/<n>/beat numbers that grow as long as a node, or the training at node 0, lives

Nothing waits in the store: whoever asks looks again, and sees meanwhile that another one has died.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from threading import Event
from typing import Any, Literal

from torch import distributed as dist

from pai_bench.core.background import beside
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.machine import AGAIN, MachineFault
from pai_bench.core.node import Node

JOINING = 600.0
"""Seconds in which all nodes have to come."""
SILENCE = 60.0
"""Seconds after which a node that says nothing is dead: networks have their moments."""
PACE = 0.5
"""Seconds between two beats, and two looks."""


class NodeLost(MachineFault):
    """A node is gone."""

    def __init__(self, node: int, how: str = "does not answer any more") -> None:
        super().__init__(f"node {node} {how}, which ends the training: {AGAIN}")


@dataclass(frozen=True)
class Report:
    """What another node says of its part of a training."""

    kind: Literal["done", "failed", "fault"]
    """`failed`: the method has, with its cell. `fault`: the machine has, and nothing is stored."""
    reason: str = ""
    trace: str = ""


class Meeting:
    """A connection of a node to the others.

    Args:
        node: This one.
        serves: Whether this process serves the store.
        patience: Seconds to wait for who serves it; JOINING unless given.

    Raises:
        BenchError: It cannot be served, or reached.
    """

    def __init__(self, node: Node, serves: bool = False, patience: float | None = None) -> None:
        self.node = node
        try:
            store = dist.TCPStore(  # type: ignore[attr-defined]
                node.host, node.port, is_master=serves and not node.is_served,
                timeout=timedelta(seconds=patience or JOINING), wait_for_workers=False,
            )  # fmt: skip
        except dist.DistError as error:
            problem = "cannot be served" if serves else "does not answer: does node 0 run there?"
            raise BenchError(
                f"--nodes {node.size}: {node.host}:{node.port} {problem} ({first_line(error)})"
            ) from error
        # That of torchrun has other keys too, and those of its last attempt.
        prefix = f"pai-bench/{node.attempt}"
        self._store = dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]

    def read(self, key: str) -> str | None:
        """Return what a key holds; None if nothing.

        Raises:
                NodeLost: Node 0 is gone.
        """
        with self._of_node_0():
            return self._store.get(key).decode() if self._store.check([key]) else None

    def write(self, key: str, text: str) -> None:
        """Let a key hold a text. Raises as `read`."""
        with self._of_node_0():
            self._store.set(key, text)

    def next_round(self) -> int:
        """Number of a new training, from 1. Raises as `read`."""
        with self._of_node_0():
            return int(self._store.add("rounds", 1))

    def report(self, round_number: int, report: Report) -> None:
        """Say what has become of this node's part of a training. Raises as `read`."""
        key = f"round/{round_number}/node/{self.node.number}"
        self.write(key, json.dumps(asdict(report)))

    def reported(self, round_number: int, node: int) -> Report | None:
        """What a node has said of its part. Raises as `read`."""
        text = self.read(f"round/{round_number}/node/{node}")
        return None if text is None else Report(**json.loads(text))

    def has_come(self, node: int) -> bool:
        """Whether a node takes part. Raises as `read`."""
        return self.read(f"beat/{node}") is not None

    def leave(self, reason: str) -> None:
        """Say that this node takes part no more; empty where node 0 knows why."""
        with contextlib.suppress(NodeLost):
            self.write(f"left/{self.node.number}", reason)

    def has_left(self, node: int) -> bool:
        """Whether a node takes part no more. Raises as `read`."""
        return self.read(f"left/{node}") is not None

    @contextlib.contextmanager
    def _of_node_0(self) -> Iterator[None]:
        try:
            yield
        except dist.DistError as error:
            raise NodeLost(0) from error

    def _beat(self, key: str) -> None:
        with self._of_node_0():
            self._store.add(key, 1)

    @contextlib.contextmanager
    def beating(self, key: str) -> Iterator[None]:
        """Let a number grow for the time of a `with` block, over a connection of its own."""
        other = Meeting(self.node, patience=SILENCE)

        def beat(ended: Event) -> None:
            with contextlib.suppress(NodeLost):
                other._beat(key)
                while not ended.wait(PACE):
                    other._beat(key)

        with beside(beat, "beats"):
            yield


class Pulse:
    """Whether a number still grows, as another node lets it."""

    def __init__(self, meeting: Meeting, key: str) -> None:
        self._meeting, self._key = meeting, key
        self._seen: str | None = None
        self._changed = time.monotonic()
        self.beats = 0
        """Number of changes that were seen."""

    def silence(self) -> float:
        """Look, and tell for how many seconds it has not grown. Raises as `Meeting.read`."""
        seen = self._meeting.read(self._key)
        if seen != self._seen:
            self._seen, self._changed = seen, time.monotonic()
            self.beats += 1
        return time.monotonic() - self._changed


@contextlib.contextmanager
def served(node: Node, say: Callable[[str], None]) -> Iterator[None]:
    """Be node 0 for the time of a `with` block, which begins when all others have come.

    Raises:
        BenchError: The port is taken, or a node does not come.
    """
    meeting = Meeting(node, serves=True)
    reason = "it was interrupted"
    with meeting.beating("beat/0"):
        try:
            _wait_for_others(meeting, say)
            yield
            reason = ""
        except BenchError as error:
            reason = str(error)
            raise
        finally:
            with contextlib.suppress(NodeLost):
                meeting.write("over", reason)
                came = [number for number in node.others if meeting.has_come(number)]
                _until(lambda: all(map(meeting.has_left, came)), 10 * PACE)


def _wait_for_others(meeting: Meeting, say: Callable[[str], None]) -> None:
    node = meeting.node

    def absent() -> list[int]:
        return [number for number in node.others if not meeting.has_come(number)]

    if not _until(lambda: not absent(), PACE):
        say(f"waiting for the other nodes at {node.host}:{node.port}")
    if not _until(lambda: not absent(), JOINING):
        named = ", ".join(map(str, absent()))
        raise BenchError(
            f"--nodes {node.size}: node {named} has not come within {JOINING / 60:.0f} minutes: "
            "start the same command there"
        )


def _until(is_so: Callable[[], Any], seconds: float) -> bool:
    """Wait until something is so, at most so long; tell whether it is."""
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            return False
        time.sleep(PACE / 5)
    return True
