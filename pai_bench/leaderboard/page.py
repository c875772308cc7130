"""The data of the HTML page and of the W&B artifact: boards as plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pai_bench.claims import citation, metric_registry
from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.metric_registry import Metric, MetricContext
from pai_bench.claims.parser import available
from pai_bench.claims.serializer import as_json, packed
from pai_bench.claims.statistics import Estimate
from pai_bench.config.schema import Benchmark
from pai_bench.core.redact import redact_data
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import ordinary_images
from pai_bench.leaderboard.board import Board, Row
from pai_bench.leaderboard.colors import COLORS
from pai_bench.leaderboard.page_claims import Judged, judged
from pai_bench.leaderboard.page_lines import lines
from pai_bench.leaderboard.page_methods import CHECKS, kind, methods_data
from pai_bench.leaderboard.summary import summarise
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store.store import StoredResult


@dataclass(frozen=True)
class PageHeading:
    """What stands above the boards."""

    title: str
    about: str
    command: str
    rebuild: str


@dataclass(frozen=True)
class Page:
    """All that a page shows: boards and claims, and lines with its single cells."""

    data: Mapping[str, Any]
    shared: Mapping[str, Any]
    cells: Sequence[str]
    judged: Sequence[Judged] = ()
    """What the claims in `data` were made from."""


def page(
    heading: PageHeading,
    boards: Sequence[Board],
    settings: Benchmark,
    methods: Mapping[str, MethodInfo],
    measured: ResultLookup,
) -> Page:
    """Collect all that a page shows; text in it is fit to publish.

    Claims are those of papers that have one which a suite of the boards tests.
    """
    shown_methods = {row.method for board in boards for row in board.rows}
    papers = judged(list(available().values()), [board.suite for board in boards], measured)
    shared, cells = _lines(boards, settings)
    data = {
        **redact_data(asdict(heading)),
        "boards": [_shown(board, settings) for board in boards],
        "claims": [packed(as_json(each.claims, each.verdicts, measured)) for each in papers],
        "metrics": [_described(each) for each in metric_registry.available().values()],
        "methods": methods_data(methods, shown_methods, settings.methods_of_papers()),
        "checks": CHECKS,
        "colors": COLORS,
        "bibtex": citation.of_benchmark(),
    }
    return Page(data, shared, cells, papers)


def _shown(board: Board, settings: Benchmark) -> dict[str, Any]:
    """A board as on the page: rows know the seeds of their cells, and their sanity checks."""
    data = board_data(board, settings) | {"ranking": _ranking(board)}
    checked: dict[tuple[str, float], dict[str, Any]] = {}
    for row in board.sanity_checked:
        checked.setdefault((row.label, row.density), {})[row.sanity_check] = _seeds(row)
    missing = redact_data([shown["missing"] for shown in data["rows"]])
    for shown, row, without in zip(data["rows"], board.rows, missing, strict=True):
        shown |= {**_seeds(row), "checked": checked.get((row.label, row.density), {})}
        shown["missing"] = without
        shown["best"] = board.best_at(row.density) == row.label
        del shown["sparsity"], shown["compression"]
    return data


def _ranking(board: Board) -> dict[str, Any] | None:
    """The lines by mean rank, or None where too few share a part of the grid."""
    summaries = summarise(board)
    if summaries is None:
        return None
    return {
        "densities": summaries.densities,
        "runs": summaries.runs,
        "lines": [asdict(line) for line in summaries.lines],
    }


def _seeds(row: Row) -> dict[str, Any]:
    return {"cells": [cell.id for cell in row.cells], "seeds": [cell.seed for cell in row.cells]}


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
    return {
        "line": row.label,
        "method": row.method,
        "kind": kind(row.density < 1, of_paper),
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
        "by_position": row.by_position,
        "training": row.training_flops,
        "left": row.compacted,
        "delta": row.delta and {"against": row.delta.against, **_interval(row.delta.estimate)},
        "checks": {name: _interval(estimated) for name, estimated in row.checks.items()},
        "cells": [cell.id for cell in row.cells],
        "missing": [asdict(missing) for missing in row.missing],
    }


def _described(metric: Metric) -> dict[str, Any]:
    """What a page needs to show the values of a metric."""
    return {
        "name": metric.name,
        "about": metric.about,
        "unit": metric.unit,
        "decimals": metric.decimals,
    }


def _lines(boards: Sequence[Board], settings: Benchmark) -> tuple[dict[str, Any], list[str]]:
    shared: dict[str, Any] = {}
    all_lines: list[str] = []
    for board in boards:
        context = MetricContext(images=ordinary_images(settings, board.suite))
        records, cells = lines(_cells(board), board.suite, context)
        all_lines += cells
        for kind_of, named in records.items():
            shared.setdefault(kind_of, {}).update(named)
    return shared, all_lines


def _cells(board: Board) -> Iterable[tuple[Cell, StoredResult | None]]:
    for row in (*board.rows, *board.sanity_checked):
        stored = {entry.cell.id: entry for entry in row.stored}
        for cell in row.cells:
            yield cell, stored.get(cell.id)


def _prunable(board: Board) -> int | None:
    for row in board.rows:
        for entry in row.entries:
            return sum(layer.total for layer in entry.result.layers)
    return None


def _interval(estimated: Estimate | None) -> dict[str, float | None]:
    if estimated is None:
        return {"mean": None, "low": None, "high": None}
    return {"mean": estimated.mean, "low": estimated.low, "high": estimated.high}
