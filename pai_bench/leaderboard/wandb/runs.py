"""What the mirror in W&B consists of.

One W&B run stands for one method at one density, all seeds in it: that is what people compare, and
a grid of 1,000 cells becomes a list of some 300 runs whose charts need no grouping by the server
(which drops rows beyond a hundred runs). Each seed's curve is in the run beside the mean. One more
run holds the leaderboard: a table, accuracy against density, and the same data and the text of the
report as an artifact.

Run ids are derived from the identity of the cells, so that writing again overwrites.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pai_bench.config.schema import Benchmark
from pai_bench.core.redact import redact_data
from pai_bench.experiment.cell import PROTOCOL
from pai_bench.leaderboard.board import Board, Row
from pai_bench.leaderboard.page import board_data, row_data
from pai_bench.leaderboard.wandb.report import Report, board_id, run_id, written

COLUMNS = (
    "line", "method", "kind", "density", "sparsity", "n", "mean", "low", "high", "best_epoch",
    "achieved", "effective", "collapsed", "by_position",
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
    artifact: Mapping[str, str] | None = None
    """Text of each file, by name."""
    notes: str | None = None

    @property
    def digest(self) -> str:
        """Changes when anything in the run does."""
        return hashlib.sha256(json.dumps(self.__dict__, sort_keys=True).encode()).hexdigest()


def runs(board: Board, report: Report, settings: Benchmark) -> Iterator[RunData]:
    """Turn a board into W&B runs: one per row that has results, and one for the leaderboard."""
    for row in (*board.rows, *board.sanity_checked):
        if row.entries:
            yield _row_run(row, board, row.method in settings.methods_of_papers())
    yield _board_run(board, report, settings)


def _row_run(row: Row, board: Board, of_paper: bool) -> RunData:
    cell = row.cells[0]
    data = row_data(row, of_paper)
    config = {k: v for k, v in cell.resolved().items() if k != "seed"}
    result = row.entries[0].result
    return RunData(
        id=run_id(row),
        name=f"{row.label}{_of(row)} · density {row.density:.4g}",
        group=f"{board.suite} · {row.label}",
        job_type="train",
        tags=(
            _tag(board.suite),
            row.method,
            _tag(cell.network),
            cell.data,
            "sanity-check" if row.sanity_check else data["kind"],
            f"protocol-{PROTOCOL}",
        ),
        config={
            **config,
            "suite": board.suite,
            "hyper": dict(result.hyper),
            "seeds": [e.cell.seed for e in row.entries],
            "cells": [e.cell.id for e in row.entries],
            "environment": redact_data(result.environment),
        },
        step="epoch",
        history=_epochs(row),
        summary={
            **{key: data[key] for key in COLUMNS if key not in ("line", "method", "kind")},
            **{f"check/{name}": difference.mean for name, difference in row.checks.items()},
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


def _board_run(board: Board, report: Report, settings: Benchmark) -> RunData:
    data = board_data(board, settings)
    by_density: dict[float, dict[str, float]] = {}
    for row in data["rows"]:
        if row["mean"] is not None:
            point = by_density.setdefault(row["density"], {})
            point[f"accuracy/{row['line']}"] = row["mean"]
    return RunData(
        id=board_id(board.suite),
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
        artifact={
            "leaderboard.json": json.dumps(data, indent=1),
            "claims.json": json.dumps(report.claims, indent=1),
            "report.md": written(report),
        },
        notes=report.short,
    )


def _of(row: Row) -> str:
    return f" · {row.sanity_check}" if row.sanity_check else ""


def _checks(row: Mapping[str, Any], names: Sequence[str]) -> list[float | None]:
    """Mean differences of a row's sanity checks; null where there is none."""
    return [row["checks"].get(name, {}).get("mean") for name in names]


def _tag(name: str) -> str:
    """A name cut to the 64 characters that W&B allows a tag to have."""
    return name[:64]
