"""How far runs and trainings are: small files beside the leases, for whoever looks from any host.

    runs/progress/<bundle id>.json              by the process that trains the bundle
                  run-<host>-<process>.json     by the process of `pai-bench run`

Nothing depends on them: a file that is lost, or left by a process that died, changes no result.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from pai_bench.core.files import atomic_write, server_time
from pai_bench.store.lease_entry import Holder

FOLDER = "progress"


@dataclass(frozen=True)
class CellProgress:
    """One network that is being trained."""

    id: str
    method: str
    """With its hyper-parameters, as on the leaderboard."""
    density: float
    seed: int
    sanity_check: str = ""
    accuracy: float | None = None
    """Of the last epoch; None before the first."""


@dataclass(frozen=True)
class BundleProgress:
    """How far the training of a bundle is."""

    bundle: str
    holder: Holder
    """The process."""
    epoch: int
    epochs: int
    message: str
    """What is done while masks are chosen."""
    seconds_left: float | None
    """When it was written; None before anything is known of the speed."""
    cells: tuple[CellProgress, ...]
    written: float = 0.0
    """When, by the server's clock: the time of the file."""

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.bundle


@dataclass(frozen=True)
class RunProgress:
    """How far a run is: the cells that one command is to see to."""

    suite: str
    holder: Holder
    done: int
    failed: int
    """Of those that are done."""
    cells: int
    seconds_left: float | None
    written: float = 0.0

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"run-{self.holder.host}-{self.holder.process}"


_Kind = TypeVar("_Kind", BundleProgress, RunProgress)
_BUNDLE, _RUN = TypeAdapter(BundleProgress), TypeAdapter(RunProgress)


def write(runs: Path, progress: BundleProgress | RunProgress) -> None:
    """Write how far something is; a file server that does not answer may do so next time."""
    with contextlib.suppress(OSError), atomic_write(_path(runs, progress.name)) as beside:
        beside.write_text(json.dumps(asdict(progress)), encoding="ascii")


def bundles(runs: Path) -> list[BundleProgress]:
    """Read how far bundles are, the latest last; what is no such file is passed over."""
    return _read(runs, "[0-9a-f]*.json", _BUNDLE)


def all_runs(runs: Path) -> list[RunProgress]:
    """Read how far runs are, the latest last."""
    return _read(runs, "run-*.json", _RUN)


def _read(runs: Path, names: str, kind: TypeAdapter[_Kind]) -> list[_Kind]:
    found = []
    for path in (runs / FOLDER).glob(names):
        with contextlib.suppress(OSError, ValidationError):
            progress = kind.validate_json(path.read_bytes())
            found.append(replace(progress, written=path.stat().st_mtime))
    return sorted(found, key=lambda progress: progress.written)


def discard(runs: Path, progress: BundleProgress | RunProgress) -> None:
    """Remove the file of what has ended."""
    with contextlib.suppress(OSError):
        _path(runs, progress.name).unlink(missing_ok=True)
        (runs / FOLDER).rmdir()  # Only an empty folder can be removed.


def forget(runs: Path, patience: float) -> None:
    """Remove what processes have left that died: of this host, or silent for `patience` seconds."""
    found: list[BundleProgress | RunProgress] = [*bundles(runs), *all_runs(runs)]
    for progress in found:
        if progress.holder.has_died:
            discard(runs, progress)
    with contextlib.suppress(OSError):
        files = list((runs / FOLDER).iterdir())  # Half-written ones too.
        limit = server_time(runs) - patience
        for path in files:
            if path.stat().st_mtime < limit:
                path.unlink()
        (runs / FOLDER).rmdir()  # Only an empty folder can be removed.


def _path(runs: Path, name: str) -> Path:
    return runs / FOLDER / f"{name}.json"
