"""The store mirrored to Weights & Biases: it can fail, be slow or be gone, and nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from pai_bench.config.schema import Benchmark
from pai_bench.leaderboard.board import Board
from pai_bench.leaderboard.wandb.client import (
    PATIENCE,
    REACH,
    logged_in,
    opened,
    problem_of,
    quieten,
    read_notes,
    write_notes,
)
from pai_bench.leaderboard.wandb.report import Report
from pai_bench.leaderboard.wandb.runs import RunData, runs

Mode = Literal["auto", "online", "offline", "disabled"]
OnWritten = Callable[[int, int], None]
"""Is on_written how many runs were written, of how many that are to be."""


@dataclass(frozen=True)
class Mirrored:
    """What became of a mirror."""

    mode: str
    written: int = 0
    unchanged: int = 0
    problem: str = ""
    report: str = ""
    """Address of the report, where one was asked for and made."""
    report_problem: str = ""


@dataclass(frozen=True)
class _Task:
    """What the process of its own is given."""

    runs: Sequence[RunData]
    report: Report
    settings: Benchmark
    folder: Path
    mode: Any
    rebuild: bool
    patience: float
    reach: float


@dataclass(frozen=True)
class _Place:
    """Where runs have gone online."""

    entity: str
    project: str
    address: str


def mirror(
    board: Board,
    report: Report,
    settings: Benchmark,
    folder: Path,
    mode: Mode,
    rebuild: bool = False,
    on_written: OnWritten = lambda _written, _of: None,
) -> Mirrored:
    """Write the runs that have changed to W&B, in a process of its own with a time limit.

    `rebuild` writes all runs, and online the report too. `auto` is what WANDB_MODE says, else
    online for somebody who is logged in, else offline. What cannot be written online is written
    offline. Never prompts, never raises: a problem is returned in words.
    """
    mode_asked = (mode == "auto" and os.environ.get("WANDB_MODE")) or mode
    if mode_asked == "disabled":
        return Mirrored("disabled")
    runs_of_board = list(runs(board, report, settings))
    task = _Task(runs_of_board, report, settings, folder, mode_asked, rebuild, PATIENCE, REACH)
    mirrored = _in_time(task, on_written)
    if mirrored.problem and mode_asked != "offline":
        # A run that has not got through is still open in the process that tried: start another.
        mirrored = replace(
            _in_time(replace(task, mode="offline"), on_written), problem=mirrored.problem
        )
    return mirrored


def _in_time(task: _Task, on_written: OnWritten) -> Mirrored:
    """Write runs in a process of its own, which is ended when nothing is heard of it for long."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_mirror, args=(theirs, task), name="wandb-mirror")
    process.start()
    theirs.close()
    try:
        while ours.poll(task.patience):
            message: Mirrored | tuple[int, int] = ours.recv()
            if isinstance(message, Mirrored):
                return message
            on_written(*message)
        return Mirrored(task.mode, problem=f"W&B did not get through within {task.patience:.3g} s")
    except (EOFError, OSError):
        return Mirrored(task.mode, problem="the W&B process ended without a word")
    finally:
        ours.close()
        process.join(2)
        if process.is_alive():
            process.kill()


def _mirror(pipe: Connection, task: _Task) -> None:
    """In a process of its own: write what has changed, and say so through `pipe`."""
    mode = task.mode
    try:
        quieten(task.folder, "mirror.log")
        if mode == "auto":
            mode = "online" if logged_in() else "offline"
        with FileLock(task.folder / ".mirror.lock", timeout=task.patience / 2):
            mirrored = _write_changed(pipe, replace(task, mode=mode))
    except Timeout:
        mirrored = Mirrored(mode, problem=f"another process is writing to {task.folder}/")
    except Exception as error:
        mirrored = Mirrored(mode, problem=problem_of(error))
    pipe.send(mirrored)


def _write_changed(pipe: Connection, task: _Task) -> Mirrored:
    """Write the runs that are new or differ from what was written, and the report."""
    noted, place = _notes(task.folder, task.mode), None
    changed = [run for run in task.runs if task.rebuild or noted.get(run.id) != run.digest]
    for number, run in enumerate(changed, 1):
        place = _write(run, task)
        noted[run.id] = run.digest
        write_notes(task.folder, task.mode, noted)
        pipe.send((number, len(changed)))
    mirrored = Mirrored(task.mode, len(changed), len(task.runs) - len(changed))
    if task.rebuild and place is not None:
        return _with_report(mirrored, task, place)
    return mirrored


def _with_report(mirrored: Mirrored, task: _Task, place: _Place) -> Mirrored:
    """Write the report; the runs are there even if that fails."""
    from pai_bench.leaderboard.wandb.hosted import host

    try:
        address = host(task.report, place.entity, place.project, place.address, task.folder)
    except Exception as error:
        return replace(mirrored, report_problem=problem_of(error))
    return replace(mirrored, report=address)


def _notes(folder: Path, mode: str) -> dict[str, str]:
    """Read which content of which run was written; what has left the disk counts as not written."""
    noted = read_notes(folder, mode)
    if mode == "offline":
        return {run: digest for run, digest in noted.items() if _offline_folders(folder, run)}
    return noted


def _offline_folders(folder: Path, run_id: str) -> list[Path]:
    return list(folder.glob(f"offline-run-*-{run_id}"))


def _write(run: RunData, task: _Task) -> _Place | None:
    """Write one run over one of the same id that was written before; say where it is online."""
    for old in _offline_folders(task.folder, run.id):
        shutil.rmtree(old, ignore_errors=True)
    with opened(run, task.settings, task.mode, task.folder.parent, task.reach) as live:
        _fill(live, run)
        if task.mode != "online":
            return None
        return _Place(live.entity, live.project, str(live.project_url))


def _fill(live: Any, run: RunData) -> None:
    """Log all that a run holds."""
    import wandb

    for record in run.history:
        live.log(dict(record))
    if run.table is not None:
        columns, rows = run.table
        live.log({"leaderboard": wandb.Table(columns=list(columns), data=list(rows))})
    if run.artifact is not None:
        artifact = wandb.Artifact(run.id, type="leaderboard")
        for name, text in run.artifact.items():
            # In the run's own folder: there to be read, and gone when the run is.
            path = Path(live.dir).resolve() / name
            path.write_text(text, encoding="utf-8")
            artifact.add_file(str(path), policy="immutable", skip_cache=True)
        live.log_artifact(artifact)
    live.summary.update(dict(run.summary))
