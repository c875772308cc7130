"""Leases: which process trains a cell, or runs a search, in a folder that many hosts share.

    runs/leases/<name>.<n>      who has held the lease `name` since its n-th change of hands

Each change of hands (a first lease, a take-over, a renewal, a release) is the creation of the next
number with O_CREAT | O_EXCL, which a file server does for one process only, NFS since its version 3
(RFC 1813, 3.3.8). No entry is ever changed, so that of two who want to take over from the same
holder one fails, and none takes away what has changed hands since it looked, as a rename of "the
stale file" could. A link to a file that is complete before it has its name would do as well, but
not every file system has links; an entry that is empty, because its holder died while writing it,
is one whose holder is unknown.

A holder beats: it sets its entry to the time of the file server. Hosts need not agree on the time:
who waits for the lease compares beats with one another, never with a clock (lease_watch.py). Of
processes of its own host it sees at once that they have ended (lease_entry.py).

Entries are removed when there is a result; who gets a lease therefore looks for one before it
begins.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event, Lock

from pai_bench.core.background import beside
from pai_bench.store.lease_entry import LOOKS, Entry, Holder, create, here, numbers_of, read_holder

FOLDER = "leases"


@dataclass
class Lease:
    """A lease that this process holds."""

    folder: Path
    name: str
    number: int
    holder: Holder
    is_lost: bool = False
    """Whether another process has taken it over, as of the last beat."""
    _has_ended: bool = False
    _lock: Lock = field(default_factory=Lock, repr=False)
    """The thread that beats must not take a renewal for a take-over."""

    @property
    def path(self) -> Path:
        """Its entry."""
        return self.folder / f"{self.name}.{self.number}"

    def beat(self) -> None:
        """Show that this process lives; find out whether it still holds the lease."""
        with self._lock, contextlib.suppress(OSError):  # A server may answer next time.
            if self._has_ended:
                return
            self.is_lost = self.is_lost or not self._is_held()
            if not self.is_lost:
                os.utime(self.path)

    def renew(self) -> bool:
        """Enter again, as the last thing before a result is written.

        Who counts the beats of this lease begins anew then, so that nobody takes it over meanwhile.

        Returns:
            Whether this process still held it.
        """
        with self._lock:
            self.is_lost = self.is_lost or not self._is_held() or not self._has_entered_again()
            return not self.is_lost

    def _has_entered_again(self) -> bool:
        previous, self.number = self.path, self.number + 1
        if not create(self.folder, self.name, self.number, self.holder):
            return False
        if read_holder(previous).token == self.holder.token:
            return True
        self.path.unlink(missing_ok=True)  # Another has taken it over, and ended it.
        return False

    def release(self) -> None:
        """Give it back without a result; nothing, where it was lost or has ended."""
        with self._lock:
            if not (self.is_lost or self._has_ended):
                self._has_ended = True
                free = replace(self.holder, is_free=True)
                create(self.folder, self.name, self.number + 1, free)

    def end(self) -> None:
        """Remove all entries, the latest last: there is a result."""
        with self._lock:
            if not self.is_lost:
                self._has_ended = True
                remove(self.folder, self.name, self.number)

    def _is_held(self) -> bool:
        with contextlib.suppress(OSError):
            (self.folder / f"{self.name}.{self.number + 1}").stat()
            return False
        return read_holder(self.path).token == self.holder.token


class Leases:
    """The leases of a folder of results.

    Args:
        runs: The folder of results.
        take_over: Seconds without a beat after which others may take over what is held by this.
        suite: What is trained, to show.
    """

    def __init__(self, runs: Path, take_over: float = 60.0, suite: str = "") -> None:
        self.folder = runs / FOLDER
        self._interval, self._suite = take_over / LOOKS, suite

    def acquire(self, name: str, dead: Entry | None = None) -> Lease | None:
        """Get a lease that nobody holds.

        Args:
            name: What it is for.
            dead: An entry whose holder has been seen to be dead (lease_watch.py).

        Returns:
            The lease; None where another process holds it.
        """
        current = self.current(name)
        if current and not (current.is_open or current == dead):
            return None
        number = current.number + 1 if current else 1
        holder = replace(here(), since=time.time(), suite=self._suite, interval=self._interval)
        if not create(self.folder, name, number, holder):
            return None
        if not self._follows(name, number, current):
            (self.folder / f"{name}.{number}").unlink(missing_ok=True)
            return None
        return Lease(self.folder, name, number, holder)

    def _follows(self, name: str, number: int, previous: Entry | None) -> bool:
        """Tell whether an entry is the latest, and the one before it is still what was read.

        Otherwise the lease has ended since the folder was read: others have begun to count anew.
        """
        numbers = numbers_of(self.folder).get(name, [])
        if previous is None:
            return numbers == [number]
        before = read_holder(self.folder / f"{name}.{previous.number}")
        return max(numbers, default=0) == number and before == previous.holder

    def current(self, name: str) -> Entry | None:
        """The latest entry of a lease; None where there is none."""
        numbers = numbers_of(self.folder).get(name)
        return self._entry(name, max(numbers)) if numbers else None

    def entries(self, names: Container[str] | None = None) -> dict[str, Entry]:
        """The latest entries by name, of all leases or those of `names`."""
        return {
            name: self._entry(name, max(numbers))
            for name, numbers in numbers_of(self.folder).items()
            if names is None or name in names
        }

    def _entry(self, name: str, number: int) -> Entry:
        path = self.folder / f"{name}.{number}"
        holder = read_holder(path)  # An NFS client asks the server for the time when it opens.
        try:
            return Entry(name, number, holder, path.stat().st_mtime_ns)
        except FileNotFoundError:  # It has ended since the folder was read.
            return Entry(name, number, Holder(is_free=True), 0)

    def forget(self, names: Container[str]) -> None:
        """Remove the entries of what has a result, where their holder died before it could."""
        for entry in self.entries(names).values():
            if entry.is_open:
                remove(self.folder, entry.name, entry.number)


def remove(folder: Path, name: str, number: int) -> None:
    """Remove the entries of a lease up to a number, and the folder when it is empty."""
    for older in sorted(n for n in numbers_of(folder).get(name, []) if n <= number):
        (folder / f"{name}.{older}").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.contextmanager
def held(*leases: Lease) -> Iterator[None]:
    """Let leases beat, in a thread, as long as the block runs and this process lives.

    After the block those that have not ended are given back.
    """
    try:
        with beside(partial(_beat, leases), "leases"):
            yield
    finally:
        for lease in leases:
            lease.release()


def _beat(leases: tuple[Lease, ...], ended: Event) -> None:
    interval = min((lease.holder.interval for lease in leases), default=None)
    while not ended.wait(interval):
        for lease in leases:
            lease.beat()
