"""Boards of suites from folders of results: the own cells and all that can stand beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.experiment.grid import Selection
from pai_bench.leaderboard.board import Board, board_of
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store import comparable

Folders = str | Path | Sequence[str | Path]
"""A folder of results, or several."""


@dataclass(frozen=True)
class LeftOut:
    """What the folders hold of a suite and its board does not show: numbers of cells."""

    stale: int
    """Of other versions or settings."""
    differing: int
    """With other numbers in a further folder."""


def folders_of(runs: Folders) -> list[Path]:
    """List folders of results. Raises BenchError where one is not there."""
    folders = [Path(runs)] if isinstance(runs, str | Path) else [Path(each) for each in runs]
    for folder in folders:
        if not folder.is_dir():
            raise BenchError(f"{folder}: no such folder of results")
    return folders


def stored_board(
    settings: Benchmark,
    methods: Mapping[str, MethodInfo],
    folders: Sequence[Path],
    suite: str,
    precision: str = "32-true",
) -> tuple[Board, LeftOut]:
    """Compute the whole board of a suite from folders of results; count what it leaves out.

    Raises BenchError for an unknown suite.
    """
    planned = grid.cells(settings, methods, suite, Selection(precision=precision))
    found = comparable.of_folders(folders, suite, planned, methods)
    of_papers = settings.methods_of_papers()
    whole = board_of(found.entries, suite, found.cells, of_papers)
    return whole, LeftOut(found.stale, found.differing)


def spectra_board(
    settings: Benchmark, methods: Mapping[str, MethodInfo], folders: Sequence[Path], suite: str
) -> Board:
    """Arrange the spectra of a suite as a board: without accuracies, in each row's `stored`.

    Raises BenchError for an unknown suite.
    """
    planned = grid.cells(settings, methods, suite)
    found = {e.cell.id: e for e in comparable.stored_spectra(folders, suite, planned, methods)}
    cells = {cell.id: cell for cell in (*planned, *(entry.cell for entry in found.values()))}
    return board_of(found, suite, cells.values(), ())
