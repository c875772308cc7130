"""The stored cells that may stand beside one another on a board."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from pai_bench.core.errors import BenchError
from pai_bench.experiment.cell import Cell
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store.store import Store, StoredResult

Kind = tuple[Hashable, ...]


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
    ids, kinds = {cell.id for cell in planned}, {_kind(cell) for cell in planned}
    found = sorted(store.ids())
    read = {i: store.get(i) if i in ids else _comparable(store, i, kinds, methods) for i in found}
    entries = {cell_id: entry for cell_id, entry in read.items() if entry is not None}
    others = [entry.cell for cell_id, entry in entries.items() if cell_id not in ids]
    return Stored([*planned, *others], entries, len(read) - len(entries))


def _comparable(
    store: Store, cell_id: str, kinds: set[Kind], methods: Mapping[str, MethodInfo]
) -> StoredResult | None:
    """Read a stored cell if it can stand beside cells of these kinds."""
    try:
        entry = store.get(cell_id)
    except BenchError:
        return None
    cell, info = entry.cell, methods.get(entry.cell.method)
    current = info is None or info.version == cell.method_version
    return entry if cell.id == cell_id and current and _kind(cell) in kinds else None


def _kind(cell: Cell) -> Kind:
    """What two cells must share to stand on one board."""
    data = cell.data, cell.digest, cell.mean, cell.std
    return cell.network, cell.network_version, *data, cell.recipe, cell.precision
