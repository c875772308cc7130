"""The part of a board that a figure shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isclose

from pai_bench.core.errors import BenchError, unknown
from pai_bench.leaderboard.board import Board


def selected(board: Board, methods: Sequence[str], densities: Sequence[float]) -> Board:
    """Keep the lines named in full or by their method, at the densities given; empty keeps all.

    A density is meant as exactly as papers print one. Raises BenchError for a name that is no
    line, or a density that no row has.
    """
    for name in methods:
        if not any(name in (row.label, row.method) for row in board.rows):
            known = dict.fromkeys(row.label for row in board.rows)
            raise unknown("method", name, known, f"suite {board.suite}: ")
    for density in densities:
        if not any(isclose(density, row.density, rel_tol=1e-3) for row in board.rows):
            raise BenchError(f"suite {board.suite}: no result at the density {density:g}")
    rows = [
        row
        for row in board.rows
        if (not methods or row.label in methods or row.method in methods)
        and (not densities or any(isclose(d, row.density, rel_tol=1e-3) for d in densities))
    ]
    return replace(board, rows=tuple(rows))
