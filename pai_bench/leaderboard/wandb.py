"""The store mirrored to Weights & Biases: it can fail, be slow or be deleted, and nothing is lost.

One W&B run stands for one method at one density, all seeds in it: that is what people compare, and
a grid of 1,000 cells becomes a list of some 300 runs whose charts need no grouping by the server
(which drops rows beyond a hundred runs). Each seed's curve is in the run beside the mean. One more
run holds the leaderboard: a table, accuracy against density, and the same data as an artifact.

Run ids are derived from the identity of the cells, so that writing again overwrites.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pai_bench.cell import PROTOCOL
from pai_bench.config import Benchmark
from pai_bench.errors import first_line
from pai_bench.leaderboard.page import board_data, row_data
from pai_bench.leaderboard.statistics import Board, Row

Mode = Literal["auto", "online", "offline", "disabled"]
PATIENCE = 60.0
"""Seconds after which a mirror is given up; a quarter of it is for getting through at all."""
COLUMNS = (
    "line", "method", "kind", "density", "sparsity", "n", "mean", "low", "high", "best_epoch",
    "achieved", "effective", "collapsed",
)  # fmt: skip


@dataclass(frozen=True)
class RunData:
    """One W&B run, ready to be written."""

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    step: str
    history: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]
    table: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None
    artifact: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        """Changes when anything in the run does."""
        return hashlib.sha256(json.dumps(self.__dict__, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Mirrored:
    """What became of a mirror."""

    mode: str
    written: int = 0
    unchanged: int = 0
    problem: str = ""


def mirror(
    board: Board, settings: Benchmark, folder: Path, mode: Mode, rebuild: bool = False
) -> Mirrored:
    """Write the runs that have changed to W&B, in a process of its own with a time limit.

    `auto` is what WANDB_MODE says, else online for somebody who is logged in, else offline.
    What cannot be written online is written offline.
    Never prompts, never raises: a problem is returned in words.
    """
    chosen = (mode == "auto" and os.environ.get("WANDB_MODE")) or mode
    if chosen == "disabled":
        return Mirrored("disabled")
    wanted = list(runs(board, settings))
    found = _in_time(wanted, settings, folder, chosen, rebuild)
    if found.problem and chosen != "offline":
        # A run that has not got through is still open in the process that tried: start another.
        offline = _in_time(wanted, settings, folder, "offline", rebuild)
        found = replace(offline, problem=found.problem)
    return found


def _in_time(
    wanted: Sequence[RunData], settings: Benchmark, folder: Path, mode: str, rebuild: bool
) -> Mirrored:
    """Write runs in a process of its own, which is ended when its time is over."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    target = (theirs, wanted, settings, folder, mode, rebuild)
    process = context.Process(target=_mirror, args=target, name="wandb-mirror")
    process.start()
    theirs.close()
    try:
        if ours.poll(PATIENCE):
            found: Mirrored = ours.recv()
            return found
        return Mirrored(mode, problem=f"W&B did not get through within {PATIENCE:.3g} s")
    except (EOFError, OSError):
        return Mirrored(mode, problem="the W&B process ended without a word")
    finally:
        ours.close()
        process.join(2)
        if process.is_alive():
            process.kill()


def runs(board: Board, settings: Benchmark) -> Iterator[RunData]:
    """Turn a board into W&B runs: one per row that has results, and one for the leaderboard."""
    for row in (*board.rows, *board.ablated):
        if row.entries:
            yield _row_run(row, board, row.method in settings.methods_of_papers())
    yield _board_run(board, settings)


def _row_run(row: Row, board: Board, of_paper: bool) -> RunData:
    cell = row.cells[0]
    identity = {k: v for k, v in cell.identity.items() if k != "seed"}
    data = row_data(row, of_paper)
    config = {k: v for k, v in cell.resolved().items() if k != "seed"}
    result = row.entries[0].result
    return RunData(
        id=_id(identity),
        name=f"{row.line}{_of(row)} · density {row.density:.4g}",
        group=f"{board.suite} · {row.line}",
        job_type="train",
        tags=(
            _tag(board.suite),
            row.method,
            _tag(cell.network),
            cell.data,
            "sanity-check" if row.ablation else data["kind"],
            f"protocol-{PROTOCOL}",
        ),
        config={
            **config,
            "suite": board.suite,
            "hyper": dict(result.hyper),
            "seeds": [e.cell.seed for e in row.entries],
            "cells": data["cells"],
            "environment": dict(result.environment),
        },
        step="epoch",
        history=_epochs(row),
        summary={
            **{key: data[key] for key in COLUMNS if key not in ("line", "method", "kind")},
            **{f"check/{name}": found.mean for name, found in row.checks.items()},
            "seconds": fmean(e.result.seconds.get("total", 0.0) for e in row.entries),
        },
    )


def _epochs(row: Row) -> list[dict[str, float]]:
    """One record per epoch: the mean over seeds of each curve, and each seed's own accuracy."""
    trained = [e for e in row.entries if e.result.status == "done"] or row.entries
    curves = {entry.cell.seed: entry.curves() for entry in trained}
    names = sorted(set.intersection(*({*curve} for curve in curves.values())))
    epochs = min(len(curve["test_accuracy"]) for curve in curves.values())
    return [
        {
            "epoch": epoch + 1,
            **{name: fmean(curve[name][epoch] for curve in curves.values()) for name in names},
            **{f"seed-{s}/test_accuracy": c["test_accuracy"][epoch] for s, c in curves.items()},
        }
        for epoch in range(epochs)
    ]


def _board_run(board: Board, settings: Benchmark) -> RunData:
    data = board_data(board, settings)
    by_density: dict[float, dict[str, float]] = {}
    for row in data["rows"]:
        if row["mean"] is not None:
            point = by_density.setdefault(row["density"], {})
            point[f"accuracy/{row['line']}"] = row["mean"]
    return RunData(
        id=f"leaderboard-{re.sub(r'[^A-Za-z0-9._-]', '-', board.suite)}"[:64],
        name=f"leaderboard · {board.suite}",
        group=board.suite,
        job_type="leaderboard",
        tags=(_tag(board.suite), "leaderboard", f"protocol-{PROTOCOL}"),
        config={key: value for key, value in data.items() if key != "rows"},
        step="density",
        history=[{"density": d, **by_density[d]} for d in sorted(by_density)],
        summary={"cells": sum(row["n"] for row in data["rows"])},
        table=(
            (*COLUMNS, *(f"check/{name}" for name in board.checks)),
            [[*(row[key] for key in COLUMNS), *_checks(row, board.checks)] for row in data["rows"]],
        ),
        artifact=data,
    )


def _of(row: Row) -> str:
    return f" · {row.ablation}" if row.ablation else ""


def _checks(row: Mapping[str, Any], names: Sequence[str]) -> list[float | None]:
    """Mean differences of a row's sanity checks; null where there is none."""
    return [row["checks"].get(name, {}).get("mean") for name in names]


def _tag(name: str) -> str:
    """A name cut to the 64 characters that W&B allows a tag to have."""
    return name[:64]


def _id(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _mirror(
    pipe: Connection,
    wanted: Sequence[RunData],
    settings: Benchmark,
    folder: Path,
    mode: Any,
    rebuild: bool,
) -> None:
    """In a process of its own: write what has changed, and say so through `pipe`."""
    os.environ["WANDB_SILENT"] = "true"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "mirror.log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        if mode == "auto":
            mode = "online" if _logged_in() else "offline"
        count = _write_changed(wanted, settings, folder, mode, rebuild)
        pipe.send(Mirrored(mode, count, len(wanted) - count))
    except Exception as error:
        pipe.send(Mirrored(mode, problem=f"{type(error).__name__}: {first_line(error)}"))


def _write_changed(
    wanted: Sequence[RunData], settings: Benchmark, folder: Path, mode: Any, rebuild: bool
) -> int:
    """Write the runs that are new or differ from what was written; return their number."""
    noted = _notes(folder, mode)
    changed = [run for run in wanted if rebuild or noted.get(run.id) != run.digest]
    for run in changed:
        _write(run, settings, folder, mode)
        noted[run.id] = run.digest
        (folder / f"mirrored-{mode}.json").write_text(json.dumps(noted, indent=1))
    return len(changed)


def _logged_in() -> bool:
    """Tell whether W&B has credentials on this machine, without asking for any."""
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


def _notes(folder: Path, mode: str) -> dict[str, str]:
    """Read which content of which run was written; what has left the disk counts as not written."""
    path = folder / f"mirrored-{mode}.json"
    try:
        noted: dict[str, str] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if mode == "offline":
        return {run: digest for run, digest in noted.items() if _offline_folders(folder, run)}
    return noted


def _offline_folders(folder: Path, run_id: str) -> list[Path]:
    return list(folder.glob(f"offline-run-*-{run_id}"))


def _write(run: RunData, settings: Benchmark, folder: Path, mode: Any) -> None:
    """Write one run; one of the same id that was written before is replaced."""
    import wandb

    for old in _offline_folders(folder, run.id):
        shutil.rmtree(old, ignore_errors=True)
    with wandb.init(
        project=settings.wandb.project,
        entity=settings.wandb.entity,
        id=run.id,
        name=run.name,
        group=run.group,
        job_type=run.job_type,
        tags=list(run.tags),
        config=dict(run.config),
        mode=mode,
        dir=str(folder.parent),
        reinit="create_new",
        settings=wandb.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True,
            disable_git=True, disable_code=True, init_timeout=PATIENCE / 4,
        ),
    ) as live:  # fmt: skip
        live.define_metric(run.step, hidden=True)
        live.define_metric("*", step_metric=run.step)
        for record in run.history:
            live.log(dict(record))
        if run.table is not None:
            columns, rows = run.table
            live.log({"leaderboard": wandb.Table(columns=list(columns), data=list(rows))})
        if run.artifact is not None:
            artifact = wandb.Artifact(run.id, type="leaderboard")
            with artifact.new_file("leaderboard.json") as file:
                json.dump(run.artifact, file, indent=1)
            live.log_artifact(artifact)
        live.summary.update(dict(run.summary))
