"""The stored cells that may stand beside one another on a board."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pai_bench.experiment.cell import Cell
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store import spectra
from pai_bench.store.index import updated_index
from pai_bench.store.integrity import Altered
from pai_bench.store.result import FINISHED, precedence
from pai_bench.store.store import Store, StoredResult


@dataclass(frozen=True)
class Stored:
    """The cells that stand on one board, and what is stored of them."""

    cells: Sequence[Cell]
    """The planned ones, then others that are comparable."""
    entries: Mapping[str, StoredResult]
    """By id, in the order of ids: of each of `cells` that is stored."""
    stale: int
    """Number of stored cells that are not comparable."""
    differing: int = 0
    """Number of cells that several folders have other numbers of."""


def stored_cells(
    store: Store, planned: Sequence[Cell], methods: Mapping[str, MethodInfo]
) -> Stored:
    """Read `planned` and all comparable stored cells.

    A stored cell is comparable when it differs from a planned one in method, hyper-parameters,
    density, seed and sanity check only, and its method has the version of today: plugins, other
    densities.

    Raises:
        BenchError: A planned one cannot be read, or any was altered since it was written.
    """
    index = updated_index(store.folder)
    planned_ids, comparable = {cell.id for cell in planned}, _Comparable(planned, methods)
    for cell_id in planned_ids:
        index.get(cell_id)
    for error in index.unreadable.values():
        if isinstance(error, Altered):
            raise error
    entries = {
        cell_id: entry
        for cell_id, entry in index.entries.items()
        if cell_id in planned_ids or (entry.cell.id == cell_id and comparable(entry.cell))
    }
    others = [entry.cell for cell_id, entry in entries.items() if cell_id not in planned_ids]
    stale = len(index.entries) + len(index.unreadable) - len(entries)
    return Stored([*planned, *others], entries, stale)


def of_folders(
    folders: Sequence[Path], suite: str, planned: Sequence[Cell], methods: Mapping[str, MethodInfo]
) -> Stored:
    """Read a suite from several folders of results, as `stored_cells` does from one.

    Of a cell that several have, a finished result stands before a failed one, and that before FLOPs
    that were only counted, as in a merge; of those alike the one that is named first.

    Raises:
        BenchError: A planned one cannot be read, or any was altered since it was written.
    """
    each = [stored_cells(Store(folder, suite), planned, methods) for folder in folders]
    if len(each) == 1:
        return each[0]
    found: dict[str, list[StoredResult]] = defaultdict(list)
    for stored in each:
        for cell_id, entry in stored.entries.items():
            found[cell_id].append(entry)
    entries = {cell_id: _standing(found[cell_id]) for cell_id in sorted(found)}
    cells = {cell.id: cell for stored in each for cell in stored.cells}  # the planned ones first
    return Stored(
        list(cells.values()),
        entries,
        sum(stored.stale for stored in each),
        sum(_differ(of_cell) for of_cell in found.values()),
    )


def _standing(found: Sequence[StoredResult]) -> StoredResult:
    return max(found, key=lambda entry: precedence(entry.numbers.status))


def _differ(found: Sequence[StoredResult]) -> bool:
    """Whether finished results of a cell have other numbers."""
    finished = [entry.numbers for entry in found if entry.numbers.status in FINISHED]
    return any(numbers != finished[0] for numbers in finished)


def stored_spectra(
    folders: Sequence[Path], suite: str, planned: Sequence[Cell], methods: Mapping[str, MethodInfo]
) -> list[StoredResult]:
    """Read the spectra of a suite that may stand beside one another, as `stored_cells` has it.

    Of a cell that several folders have, that of the first counts.
    """
    comparable, found = _Comparable(planned, methods), dict[str, StoredResult]()
    for folder in folders:
        for entry in spectra.read(folder, suite):
            found.setdefault(entry.cell.id, entry)
    return [entry for entry in found.values() if comparable(entry.cell)]


class _Comparable:
    """Whether a stored cell can stand beside the planned ones."""

    def __init__(self, planned: Sequence[Cell], methods: Mapping[str, MethodInfo]) -> None:
        self._kinds, self._methods = {cell.kind for cell in planned}, methods
        self._compared: dict[int, tuple[tuple[Hashable, ...], bool]] = {}

    def __call__(self, cell: Cell) -> bool:
        info = self._methods.get(cell.method)
        current = info is None or info.version == cell.method_version
        return current and self._is_of_a_planned_kind(cell.kind)

    def _is_of_a_planned_kind(self, kind: tuple[Hashable, ...]) -> bool:
        """Compared once for each object: thousands of cells share one, and recipes compare slowly.

        The object is kept with the answer, so that its number is not given to another one.
        """
        if id(kind) not in self._compared:
            self._compared[id(kind)] = kind, kind in self._kinds
        return self._compared[id(kind)][1]
