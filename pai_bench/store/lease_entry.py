"""Entries of leases: files that each change of hands creates, and what they say of their holder."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

LOOKS = 6
"""A holder beats so often in the time after which another may take its lease over."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as its entry says."""

    token: str = ""
    """A random number; what else there is serves to show, and to find processes of this host."""
    host: str = ""
    boot: str = ""
    """Which start of the system this is, and which of its numberings of processes (containers)."""
    process: int = 0
    started: str = ""
    """When the process started, in the system's ticks: its number may be another's by then."""
    since: float = 0.0
    suite: str = ""
    interval: float = 10.0
    """Seconds between two beats."""
    is_free: bool = False
    """Whether the lease was given back."""

    @property
    def patience(self) -> float:
        """Seconds without a beat after which others may take over."""
        return LOOKS * self.interval

    def is_process(self, process: int) -> bool:
        """Tell whether it is the process with this number on this host."""
        return (self.host, self.process) == (socket.gethostname(), process)

    @property
    def has_died(self) -> bool:
        """Tell whether it is a process of this host that has ended; of others nothing is known."""
        return bool(self.boot) and self.boot == _boot() and not _is_running(self)


@dataclass(frozen=True)
class Entry:
    """The latest entry of a lease: two that are equal have the same holder, and the same beat."""

    name: str
    number: int
    holder: Holder
    beat: int
    """Time of the file, which only the file server sets."""

    @property
    def is_open(self) -> bool:
        """Tell whether nobody holds the lease any more."""
        return self.holder.is_free or self.holder.has_died


def create(folder: Path, name: str, number: int, holder: Holder) -> bool:
    """Create an entry; False where another process has."""
    path = folder / f"{name}.{number}"
    try:
        file = _open_new(path)
    except FileExistsError:
        return False
    except FileNotFoundError:  # Removed when it was empty.
        folder.mkdir(parents=True, exist_ok=True)
        return create(folder, name, number, holder)
    try:
        os.write(file, json.dumps(asdict(holder)).encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)
    return True


def _open_new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def numbers_of(folder: Path) -> Mapping[str, list[int]]:
    """Numbers of the entries of each lease."""
    found: dict[str, list[int]] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as files:
        for file in files:
            name, _, number = file.name.rpartition(".")
            if name and number.isdigit():
                found.setdefault(name, []).append(int(number))
    return found


def read_holder(path: Path) -> Holder:
    """Read an entry; of one that is not whole the holder is unknown."""
    try:
        return Holder(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return Holder()


def here() -> Holder:
    """This process as a holder, with a token that no other has."""
    process = os.getpid()
    return Holder(secrets.token_hex(8), socket.gethostname(), _boot(), process, _started(process))


@cache
def _boot() -> str:
    """Name this start of the system and its numbering of processes; "" where that has no name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(process: int) -> str:
    """When a process started, by /proc; "" of one that cannot be seen, or has ended.

    One that has ended may be there until its parent takes note.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _is_running(holder: Holder) -> bool:
    started = _started(holder.process)
    return started == holder.started if started else _is_hidden(holder.process)


def _is_hidden(process: int) -> bool:
    """Tell whether there is a process that /proc does not show to this user."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return False
