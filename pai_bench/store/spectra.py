"""Spectra of tangent kernels as files: `spectrum-<suite>-<cell>.json` in a folder of results.

They lie beside the folders of suites: a cell may have a spectrum, a training, or both.
"""

from __future__ import annotations

import re
from pathlib import Path

from pai_bench.core.errors import BenchError
from pai_bench.experiment.cell import Cell
from pai_bench.store import single_file
from pai_bench.store.result import Result
from pai_bench.store.stored_result import StoredResult


def path_of(folder: Path, suite: str, cell: Cell) -> Path:
    """Where the spectrum of a cell lies in a folder of results."""
    return folder / f"spectrum-{suite}-{cell.id}.json"


def write(folder: Path, suite: str, cell: Cell, result: Result) -> Path:
    """Write a spectrum and its digest; one that is there already is replaced.

    Returns:
        The file.
    """
    path = path_of(folder, suite, cell)
    single_file.write(path, result, {"id": cell.id, "cell": cell.resolved()})
    return path


def read(folder: Path, suite: str) -> list[StoredResult]:
    """Read all spectra of a suite in a folder, ordered by the ids of their cells.

    Raises BenchError where one cannot be read, or was altered since it was written.
    """
    name = re.compile(rf"spectrum-{re.escape(suite)}-[0-9a-f]{{12}}")
    paths = sorted(folder.glob("spectrum-*.json"))
    return [read_spectrum(path) for path in paths if name.fullmatch(path.stem)]


def read_spectrum(path: Path) -> StoredResult:
    """Read one spectrum. Raises BenchError where it is none, or not what was written."""
    result, record = single_file.read(path, "a spectrum", "measure it again")
    try:
        cell = Cell.from_resolved(record["cell"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchError(f"{path}: not a spectrum: {error}") from error
    if result.spectrum is None or not path.stem.endswith(f"-{record['id']}"):
        raise BenchError(f"{path}: not a spectrum of the cell that it is named for")
    return StoredResult(str(path), cell, result.numbers, "", result)
