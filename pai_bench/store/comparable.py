"""The stored cells that may stand beside one another on a board."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass

from pai_bench.experiment.cell import Cell
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store.index import updated_index
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


def stored_cells(
    store: Store, planned: Sequence[Cell], methods: Mapping[str, MethodInfo]
) -> Stored:
    """Read `planned` and all comparable stored cells.

    A stored cell is comparable when it differs from a planned one in method, hyper-parameters,
    density, seed and sanity check only, and its method has the version of today: plugins, other
    densities. Raises BenchError for a planned one that cannot be read.
    """
    index = updated_index(store.folder)
    wanted, kinds = {cell.id for cell in planned}, {cell.kind for cell in planned}
    for cell_id in wanted:
        index.get(cell_id)
    entries = {
        cell_id: entry
        for cell_id, entry in index.entries.items()
        if cell_id in wanted or _is_comparable(cell_id, entry.cell, kinds, methods)
    }
    others = [entry.cell for cell_id, entry in entries.items() if cell_id not in wanted]
    stale = len(index.entries) + len(index.unreadable) - len(entries)
    return Stored([*planned, *others], entries, stale)


def _is_comparable(
    cell_id: str,
    cell: Cell,
    kinds: Set[tuple[Hashable, ...]],
    methods: Mapping[str, MethodInfo],
) -> bool:
    """Tell whether a stored cell can stand beside cells of these kinds."""
    info = methods.get(cell.method)
    current = info is None or info.version == cell.method_version
    return cell.id == cell_id and current and cell.kind in kinds
