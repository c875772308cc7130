"""The store: one small folder per cell, complete or absent.

    runs/<suite>/<id>/cell.json            the resolved cell and its identity
                      result.json          what came out, the digests of the files beside it, and
                                           its own (integrity.py)
                      curves.json          epoch by epoch
                      masks.safetensors    bool tensors, by parameter name

A folder is written beside its place and renamed into it. Nothing else is stored: every table,
page and W&B run can be rebuilt from here, and so can the index of a suite's folder (index.py).
Who trains a cell that has no result holds its lease (lease.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_bench.core.errors import BenchError
from pai_bench.core.files import atomic_folder, remove_old_parts, remove_parts
from pai_bench.data.locations import redact_source
from pai_bench.experiment.cell import Cell
from pai_bench.store.index import cell_ids, updated_index
from pai_bench.store.integrity import DIGEST, check_file, sealed, sha256
from pai_bench.store.result import FINISHED, Result, precedence
from pai_bench.store.stored_result import (
    CELL,
    CURVES,
    MASKS,
    RESULT,
    Curves,
    State,
    StoredResult,
    read_bytes,
    read_json,
    read_record,
    read_stored,
    state_of,
)

if TYPE_CHECKING:
    from pai_bench.sparsity.masks import Masks

__all__ = ["Curves", "Store", "StoredResult", "find"]


class Store:
    """The results of one suite."""

    def __init__(self, runs: Path, suite: str) -> None:
        self.folder = runs / suite

    def state(self, cell: Cell) -> State:
        """State of a cell's files, which changes with each result that is written."""
        return state_of(f"{self.folder}/{cell.id}")

    def status(self, cell: Cell) -> str | None:
        """Tell whether a cell is `done`, `failed` or `skipped`; None when it was not trained."""
        if not (self.folder / cell.id / RESULT).is_file():
            return None
        return _status(read_record(f"{self.folder}/{cell.id}")["result"]["status"])

    def statuses(self, cells: Iterable[Cell]) -> dict[str, str | None]:
        """The same of many cells, by id. Raises BenchError where one of them cannot be read."""
        index = updated_index(self.folder)
        entries = {cell.id: index.get(cell.id) for cell in cells}
        return {cell_id: _trained(entry) for cell_id, entry in entries.items()}

    def get(self, cell_id: str) -> StoredResult:
        """Read one cell. Raises BenchError when it is absent, unreadable or of another format."""
        return read_stored(f"{self.folder}/{cell_id}")

    def entries(self, ids: Iterable[str] | None = None) -> list[StoredResult]:
        """Read all cells, or those of `ids` that are there, ordered by id.

        Raises BenchError where one of them cannot be read.
        """
        index = updated_index(self.folder)
        stored_ids = index.entries.keys() | index.unreadable.keys()
        selected = sorted(stored_ids if ids is None else stored_ids & set(ids))
        return [entry for cell_id in selected if (entry := index.get(cell_id))]

    def ids(self) -> list[str]:
        """Ids of all cells with a result."""
        folder = str(self.folder)
        return [name for name in cell_ids(folder) if isfile(f"{folder}/{name}/{RESULT}")]

    def put(
        self,
        cell: Cell,
        result: Result,
        curves: Curves | None = None,
        masks: Masks | None = None,
        stays: Callable[[Path], bool] | None = None,
    ) -> None:
        """Write a cell: all of it or nothing.

        Args:
            cell: The cell.
            result: What came out.
            curves: Epoch by epoch.
            masks: Those at the end.
            stays: Whether a folder that is there already is to stay; it is replaced unless given.

        Raises:
            FileExistsError: There is one that is to stay.
        """
        record = {"id": cell.id, "identity": cell.identity, "cell": cell.resolved()}
        with atomic_folder(self.folder / cell.id, stays) as beside:
            if masks is not None:
                masks.save(beside / MASKS)
            if curves is not None:
                _write(beside / CURVES, curves)
            _write(beside / CELL, record)
            files = {p.name: sha256(p.read_bytes()) for p in sorted(beside.iterdir())}
            content = {"id": cell.id, "result": result.to_json(), "files": files}
            _write(beside / RESULT, sealed(content))

    def verify(self, cell_id: str) -> list[str]:
        """List what is wrong with a stored cell: a wrong id, a missing or an altered file."""
        path = f"{self.folder}/{cell_id}"
        try:
            entry, record = read_stored(path), read_record(path)
        except BenchError as error:
            return [str(error)]
        wrong = [] if entry.cell.id == cell_id else [f"{path}/{CELL}: holds {entry.cell.id}"]
        wrong += [
            f"{path}/{name}: of no result"
            for name in sorted(os.listdir(path))
            if name != RESULT and name not in record["files"]
        ]
        return wrong + _problems_of_masks(f"{path}/{MASKS}", record)

    def export(self, target: Store) -> int:
        """Copy finished cells without their masks, as evidence to be kept.

        Running a cell again makes its masks again: their digest stays in the record. FLOPs that
        were only counted do not replace a training.

        Returns:
            Number of finished cells, which are all in the target now.

        Raises:
            BenchError: The target is where these results are.
        """
        if target.folder.resolve() == self.folder.resolve():
            raise BenchError(f"{target.folder}: the results are here; name another folder")
        done = [entry for entry in self.entries() if entry.result.status != "failed"]
        for entry in done:
            if target.has_more(entry):
                continue
            with atomic_folder(target.folder / entry.cell.id) as beside:
                ignored = shutil.ignore_patterns(MASKS)
                shutil.copytree(entry.folder, beside, ignore=ignored, dirs_exist_ok=True)
                _write(beside / RESULT, _published(read_record(entry.path)))
        return len(done)

    def has_more(self, entry: StoredResult) -> bool:
        """Tell whether there is a result of an entry's cell that stands before it."""
        path = f"{self.folder}/{entry.cell.id}"
        if not isfile(f"{path}/{RESULT}"):
            return False
        status = read_stored(path).result.status
        return precedence(status) > precedence(entry.result.status)

    def elsewhere(self, cell: Cell) -> Path | None:
        """Find a cell in a suite beside this one, finished and whole."""
        for suite in _suites(str(self.folder.parent)):
            other = Store(self.folder.parent, suite)
            if suite != self.folder.name and other.is_finished(cell.id):
                return other.folder / cell.id
        return None

    def ids_elsewhere(self) -> set[str]:
        """Ids of all cells in suites beside this one."""
        runs = self.folder.parent
        others = [suite for suite in _suites(str(runs)) if suite != self.folder.name]
        return {cell_id for suite in others for cell_id in cell_ids(f"{runs}/{suite}")}

    def is_finished(self, cell_id: str) -> bool:
        """Tell whether a cell is here, finished and whole."""
        is_here = isfile(f"{self.folder}/{cell_id}/{RESULT}") and not self.verify(cell_id)
        return is_here and self.get(cell_id).result.status in FINISHED

    def copy_from(self, cell: Cell) -> bool:
        """Copy a cell from a suite beside this one, if one has it; tell whether it was so."""
        source = self.elsewhere(cell)
        if source is not None:
            with atomic_folder(self.folder / cell.id) as beside:
                shutil.copytree(source, beside, dirs_exist_ok=True)
        return source is not None

    def clean(self, cell: Cell) -> None:
        """Remove what is half-written of a cell whose lease this process has taken over."""
        remove_parts(self.folder / cell.id)

    def clean_old(self) -> None:
        """Remove what was left half-written long ago."""
        remove_old_parts(self.folder)


def is_finished(folder: Path) -> bool:
    """Tell whether a cell's folder, under whatever name, has the result of an evaluated network."""
    path = f"{folder}/{RESULT}"
    return isfile(path) and read_json(path)["result"]["status"] in FINISHED


def _suites(runs: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(runs) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())
    return []


def _status(stored: str) -> str | None:
    return None if stored == "counted" else stored


def _trained(entry: StoredResult | None) -> str | None:
    return _status(entry.numbers.status) if entry else None


def _problems_of_masks(path: str, record: Mapping[str, Any]) -> list[str]:
    if MASKS not in record["files"] or MASKS in record.get("left_out", ()):
        return []
    try:
        check_file(path, record, read_bytes(path))
    except BenchError as error:
        return [str(error)]
    return []


def _published(record: dict[str, Any]) -> dict[str, Any]:
    """A record without the folders of the machine that made it, and without masks beside it.

    One that has no digest of its own gets none: nothing tells that it is as it was written.
    """
    result = record["result"]
    environment = dict(result.get("environment", {}))
    if "data" in environment:
        environment["data"] = {
            **environment["data"],
            "source": redact_source(environment["data"]["source"]),
        }
    if "command" in environment:
        environment["command"] = without_folders(environment["command"])
    published = {**record, "result": {**result, "environment": environment}, "left_out": [MASKS]}
    return sealed(published) if DIGEST in record else published


def without_folders(command: str) -> str:
    """Cut absolute paths in a command line down to their last part: results are published.

    >>> without_folders("pai-bench run quick --runs /home/me/runs --jobs 2")
    'pai-bench run quick --runs runs --jobs 2'
    """
    words = command.split(" ")
    return " ".join(Path(word).name if word.startswith("/") else word for word in words)


def find(folders: Iterable[Path], prefix: str) -> StoredResult:
    """Find the one cell, in any suite of some folders of results, whose id starts with `prefix`.

    Raises BenchError when there is none or more than one.
    """
    stores = [Store(folder, suite) for folder in folders for suite in _suites(str(folder))]
    matches = [
        (store, name)
        for store in stores
        for name in store.ids()
        if prefix and name.startswith(prefix)
    ]
    ids = {name for _, name in matches}
    if not ids:
        raise BenchError(
            f"no stored cell has an id that starts with {prefix!r}; "
            "the list of cells on a leaderboard's page has the ids"
        )
    if len(ids) > 1:
        raise BenchError(f"{prefix!r} is the start of several ids: {', '.join(sorted(ids))}")
    store, name = matches[0]
    return store.get(name)


def _write(path: Path, content: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.write("\n")
