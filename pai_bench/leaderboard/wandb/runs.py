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
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from pai_bench.config.schema import Benchmark
from pai_bench.core.redact import redact_data
from pai_bench.experiment.cell import PROTOCOL, Cell
from pai_bench.experiment.cost import training_images
from pai_bench.leaderboard.board import Board, Row
from pai_bench.leaderboard.page import board_data, row_data
from pai_bench.leaderboard.page_methods import kind
from pai_bench.leaderboard.wandb.report import Report, board_id, run_id, written
from pai_bench.store.result import Result
from pai_bench.store.store import Curves
from pai_bench.training.schedule import learning_rates

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
    history: Sequence[Mapping[str, Any]] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
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
            yield _row_run(row, board, settings)
    yield _board_run(board, report, settings)


def described(cell: Cell, suite: str, settings: Benchmark) -> RunData:
    """The run that a cell is in, before there are any results."""
    of = f" · {cell.sanity_check}" if cell.sanity_check else ""
    of_kind = kind(cell.density < 1, cell.method in settings.methods_of_papers())
    return RunData(
        id=run_id(cell),
        name=f"{cell.label}{of} · density {cell.density:.4g}",
        group=f"{suite} · {cell.label}",
        job_type="train",
        tags=(
            _tag(suite),
            cell.method,
            _tag(cell.network),
            cell.data,
            "sanity-check" if cell.sanity_check else of_kind,
            f"protocol-{PROTOCOL}",
        ),
        config={**{k: v for k, v in cell.resolved().items() if k != "seed"}, "suite": suite},
        step="epoch",
    )


def _row_run(row: Row, board: Board, settings: Benchmark) -> RunData:
    run = described(row.cells[0], board.suite, settings)
    environments = {e.cell.seed: redact_data(e.result.environment) for e in row.entries}
    first = row.entries[0]
    return replace(
        run,
        config={
            **run.config,
            "hyper": dict(first.result.hyper),
            "seeds": [*environments],
            "cells": [e.cell.id for e in row.entries],
            "environment": environments[first.cell.seed],
            "environments": {f"seed-{seed}": each for seed, each in environments.items()},
        },
        history=_history(row, settings),
        summary=_summary(row),
    )


def _history(row: Row, settings: Benchmark) -> list[dict[str, float]]:
    """One record per epoch; of the time, the part until then if all epochs took alike."""
    trained = [e for e in row.entries if e.result.status == "done"] or row.entries
    cell = row.cells[0]
    rates = learning_rates(cell.recipe, training_images(cell, settings))
    records = epochs({entry.cell.seed: entry.curves() for entry in trained}, rates)
    spent = [entry.result.seconds for entry in row.entries]
    scoring, total = (fmean(s.get(name, 0.0) for s in spent) for name in ("score", "total"))
    for number, record in enumerate(records, 1):
        record["seconds"] = scoring + (total - scoring) * number / len(records)
    return records


def epochs(
    curves: Mapping[int, Curves],
    rates: Sequence[float],
    start: int = 0,
    most: int | None = None,
) -> list[dict[str, float]]:
    """One record per epoch: means over seeds of each curve, and each seed's own accuracy.

    Args:
        curves: By seed; those of all of them decide how many epochs there are.
        rates: Learning rate of each epoch.
        start: Number of epochs that are left out.
        most: Number of records at most; all of them unless given.
    """
    names = sorted(set.intersection(*({*curve} for curve in curves.values())))
    number = min(len(curve["test_accuracy"]) for curve in curves.values())
    return [
        {
            "epoch": epoch + 1,
            **{name: fmean(curve[name][epoch] for curve in curves.values()) for name in names},
            **{f"seed-{s}/test_accuracy": c["test_accuracy"][epoch] for s, c in curves.items()},
            **({"learning_rate": rates[epoch]} if epoch < len(rates) else {}),
        }
        for epoch in range(start, number if most is None else min(number, start + most))
    ]


def _summary(row: Row) -> dict[str, Any]:
    """What the table shows of a row, each seed's accuracy, and what the networks cost."""
    data, results = row_data(row, of_paper=False), [entry.result for entry in row.entries]
    delta = data["delta"] or {}
    return {
        **{key: data[key] for key in COLUMNS if key not in ("line", "method", "kind")},
        **{f"seed-{seed}/accuracy": accuracy for seed, accuracy in row.by_seed.items()},
        **{f"delta/{name}": value for name, value in delta.items()},
        **{f"check/{name}": difference.mean for name, difference in row.checks.items()},
        **_costs(results),
        "seconds": fmean(result.seconds.get("total", 0.0) for result in results),
    }


def _costs(results: Sequence[Result]) -> dict[str, float]:
    """FLOPs and memory, means over the seeds whose results have them."""
    flops = [asdict(result.flops) for result in results if result.flops]
    costs = [{f"flops/{name}": value for name, value in each.items()} for each in flops]
    for name in ("sparse_bytes", "memory_mb"):
        known = (getattr(result, name) for result in results)
        costs += [{name: value} for value in known if value is not None]
    names = dict.fromkeys(name for each in costs for name in each)
    return {name: fmean(each[name] for each in costs if name in each) for name in names}


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


def _checks(row: Mapping[str, Any], names: Sequence[str]) -> list[float | None]:
    """Mean differences of a row's sanity checks; null where there is none."""
    return [row["checks"].get(name, {}).get("mean") for name in names]


def _tag(name: str) -> str:
    """A name cut to the 64 characters that W&B allows a tag to have."""
    return name[:64]
