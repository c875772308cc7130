"""When a lease may be taken over: whoever waits for it watches its beats.

A holder counts as dead when the same beat has been seen in many looks, each an interval of the
holder's after the one before, by the clock of the process that looks. No time of one host is
compared with that of another; and who was suspended itself, or waited for the file server, has
looked only once in all that time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from pai_bench.store.lease import Lease, Leases
from pai_bench.store.lease_entry import LOOKS, Entry

SHORTEST, LONGEST = 0.05, 2.0
"""Seconds between two looks at what others do: few at first, for much is short."""


@dataclass
class _Seen:
    entry: Entry
    time: float
    looks: int = 0


class LeaseWatch:
    """Watches leases that other processes hold."""

    def __init__(self, leases: Leases, clock: Callable[[], float] = time.monotonic) -> None:
        self._leases, self._clock = leases, clock
        self._seen: dict[str, _Seen] = {}

    def look(self, names: Collection[str]) -> dict[str, Entry]:
        """Look at leases, and return the entries of those that somebody holds who may be alive."""
        entries = self._leases.entries(names).items()
        held = {name: entry for name, entry in entries if not entry.is_open}
        now = self._clock()
        self._seen = {name: self._watched(entry, now) for name, entry in held.items()}
        return {name: entry for name, entry in held.items() if not self._is_dead(name)}

    def _watched(self, entry: Entry, now: float) -> _Seen:
        seen = self._seen.get(entry.name)
        if seen is None or seen.entry != entry:
            return _Seen(entry, now)
        if now - seen.time >= entry.holder.interval:
            return _Seen(entry, now, seen.looks + 1)
        return seen

    def _is_dead(self, name: str) -> bool:
        return self._seen[name].looks >= LOOKS

    @property
    def dead(self) -> Mapping[str, Entry]:
        """Entries, by name, whose holders are dead by what has been seen."""
        return {name: seen.entry for name, seen in self._seen.items() if self._is_dead(name)}


def acquire_or_wait(leases: Leases, name: str, is_done: Callable[[], bool]) -> Lease | None:
    """Get a lease as soon as nobody holds it; None when what it is for is done."""
    watch, pause = LeaseWatch(leases), SHORTEST
    while not is_done():
        watch.look([name])
        lease = leases.acquire(name, watch.dead.get(name))
        if lease is None:
            time.sleep(pause)
            pause = min(LONGEST, 2 * pause)
        elif is_done():
            lease.end()
        else:
            return lease
    return None
