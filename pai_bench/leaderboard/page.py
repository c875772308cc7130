"""The data of the HTML page and of the W&B artifact: boards and cells as plain JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pai_bench.cell import Cell
from pai_bench.config import Benchmark
from pai_bench.leaderboard.statistics import Board, Estimate, Row
from pai_bench.store import Entry, Store


@dataclass(frozen=True)
class Heading:
    """What stands above the boards."""

    title: str
    about: str
    command: str
    rebuild: str


def page(
    heading: Heading, boards: Sequence[Board], settings: Benchmark, store: Store
) -> dict[str, Any]:
    """Collect all that a page shows."""
    return {
        **asdict(heading),
        "boards": [board_data(board, settings) for board in boards],
        "cells": {
            cell.id: cell_data(cell, entry, board.suite)
            for board in boards
            for cell, entry in _cells(board, store)
        },
    }


def board_data(board: Board, settings: Benchmark) -> dict[str, Any]:
    """One board: what was run, and its rows."""
    suite = settings.suites[board.suite]
    return {
        "suite": board.suite,
        "about": suite.about,
        "network": suite.network,
        "data": suite.data,
        "epochs": settings.recipes[suite.recipe].epochs,
        "evaluated": board.evaluated,
        "prunable": _prunable(board),
        "seeds": sorted({cell.seed for row in board.rows for cell in row.cells}),
        "rows": [row_data(row, row.method in settings.methods_of_papers()) for row in board.rows],
    }


def row_data(row: Row, of_paper: bool) -> dict[str, Any]:
    """One row, flat; numbers that do not exist are null."""
    prunes = row.density < 1
    return {
        "line": row.line,
        "method": row.method,
        "kind": "paper" if of_paper else "baseline" if prunes else "reference",
        "density": row.density,
        "sparsity": 1 - row.density,
        "compression": 1 / row.density,
        "n": len(row.entries),
        **_interval(row.accuracy),
        "bits": row.bits and _interval(row.bits),
        "best_epoch": row.best_epoch,
        "achieved": row.achieved,
        "effective": row.effective,
        "collapsed": row.collapsed,
        "training": row.training_flops,
        "delta": row.delta and {"against": row.delta.against, **_interval(row.delta.estimate)},
        "checks": {name: _interval(found) for name, found in row.checks.items()},
        "cells": [cell.id for cell in row.cells],
        "missing": [asdict(missing) for missing in row.missing],
    }


def cell_data(cell: Cell, entry: Entry | None, suite: str) -> dict[str, Any]:
    """One cell, with its result if there is one."""
    known: dict[str, Any] = {
        "line": cell.line,
        "method": cell.method,
        "suite": suite,
        "density": cell.density,
        "seed": cell.seed,
        "ablation": cell.ablation,
        "status": "not run",
        "recipe": cell.recipe.model_dump(mode="json"),
        "command": command(cell, suite),
    }
    if entry is None:
        return known
    result = entry.result.to_json()
    result["achieved"] = result.pop("density")
    return {**known, **result, "curves": _curves(entry)}


def command(cell: Cell, suite: str) -> str:
    """The command that runs this one cell (and the method's other variants in the suite)."""
    precision = "" if cell.precision == "32-true" else f" --precision {cell.precision}"
    ablation = f" --ablation {cell.ablation}" if cell.ablation else ""
    return (
        f"pai-bench run {shlex.quote(suite)} --methods {cell.method} "
        f"--densities {cell.density!r} --seeds {cell.seed}{precision}{ablation}"
    )


def _curves(entry: Entry) -> dict[str, Any]:
    curves = dict(entry.curves())
    epochs = max(map(len, curves.values()), default=0)
    return {"epoch": list(range(1, epochs + 1)), **curves}


def _cells(board: Board, store: Store) -> Iterable[tuple[Cell, Entry | None]]:
    rows = (*board.rows, *board.ablated)
    stored = {e.cell.id: e for e in store.entries({c.id for r in rows for c in r.cells})}
    for row in rows:
        for cell in row.cells:
            yield cell, stored.get(cell.id)


def _prunable(board: Board) -> int | None:
    for row in board.rows:
        for entry in row.entries:
            return sum(layer.total for layer in entry.result.layers)
    return None


def _interval(found: Estimate | None) -> dict[str, float | None]:
    if found is None:
        return {"mean": None, "low": None, "high": None}
    return {"mean": found.mean, "low": found.low, "high": found.high}
