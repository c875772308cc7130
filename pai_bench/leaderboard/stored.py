"""The board of a suite from a folder of results: its own cells and all that can stand beside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pai_bench.config.schema import Benchmark
from pai_bench.experiment import grid
from pai_bench.experiment.grid import Selection
from pai_bench.leaderboard.board import Board, board_of
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store import comparable
from pai_bench.store.store import Store


def stored_board(
    settings: Benchmark,
    methods: Mapping[str, MethodInfo],
    runs: Path,
    suite: str,
    precision: str = "32-true",
) -> tuple[Board, int]:
    """Compute the whole board of a suite; count the stored cells that do not belong on it.

    Raises BenchError for an unknown suite.
    """
    store = Store(runs, suite)
    planned = grid.cells(settings, methods, suite, Selection(precision=precision))
    on_board = comparable.stored_cells(store, planned, methods)
    of_papers = settings.methods_of_papers()
    return board_of(on_board.entries, suite, on_board.cells, of_papers), on_board.stale


def spectra_board(
    settings: Benchmark, methods: Mapping[str, MethodInfo], runs: Path, suite: str
) -> Board:
    """Arrange the spectra of a suite as a board: without accuracies, in each row's `stored`.

    Raises BenchError for an unknown suite.
    """
    planned = grid.cells(settings, methods, suite)
    found = {e.cell.id: e for e in comparable.stored_spectra(runs, suite, planned, methods)}
    cells = {cell.id: cell for cell in (*planned, *(entry.cell for entry in found.values()))}
    return board_of(found, suite, cells.values(), ())
