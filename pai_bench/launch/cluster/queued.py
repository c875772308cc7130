"""Jobs in the queue of a cluster, and how they end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pai_bench.experiment.bundle import Bundle


@dataclass(frozen=True)
class QueuedJob:
    """A job as the queue shows it."""

    id: str
    state: str
    """In the queue's own word."""
    node: str = ""
    elapsed: str = ""
    """Since it started, in the queue's own way."""
    reason: str = ""
    """Why it waits, or has ended."""
    suite: str = ""
    bundle: Bundle | None = None
    """What it trains, where that is known."""


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    `ended`: somebody cancelled it. `lost`: the queue or its node ended it; it may be submitted
    again. `timeout`: its time was up; it may be submitted again if it has got on. `died`: its
    process died by what it was doing. `faulty`: the machine, or what was asked of the queue, is at
    fault: the same again would end in the same way.
    """

    kind: Literal["ended", "lost", "timeout", "died", "faulty"]
    reason: str = ""
