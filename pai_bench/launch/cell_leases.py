"""The leases of a bundle's cells: what of it this process may train, and may store."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.launch.events import Event, Finished, PutOff
from pai_bench.launch.request import RunRequest
from pai_bench.store.lease import Lease, Leases
from pai_bench.store.result import Result
from pai_bench.store.store import Curves, Store, is_finished

if TYPE_CHECKING:
    from pai_bench.sparsity.masks import Masks


@dataclass
class CellLeases:
    """The leases that this process has got of a bundle."""

    request: RunRequest
    store: Store
    bundle: Bundle
    leases: dict[str, Lease] = field(default_factory=dict)
    """By id, in the order of the bundle: the cells to train."""
    events: list[Event] = field(default_factory=list)
    """What became of the other cells."""

    @property
    def to_train(self) -> Bundle | None:
        """The cells whose leases this process has got."""
        cells = tuple(cell for cell in self.bundle if cell.id in self.leases)
        return Bundle(cells) if cells else None

    def is_lost(self, now: bool = False) -> bool:
        """Tell whether another process has taken one of them over, as of the last beat or `now`."""
        for lease in self.leases.values() if now else ():
            lease.beat()
        return any(lease.is_lost for lease in self.leases.values())


def acquire(request: RunRequest, bundle: Bundle) -> CellLeases:
    """Get the leases of a bundle's cells in their order, up to the first that another process has.

    So of two that begin with the same bundle, one gets all of it and the other goes on to the next.
    Cells that have a result by now are left out.
    """
    leases = Leases(request.runs, request.settings.take_over, request.suite)
    held = CellLeases(request, Store(request.runs, request.suite), bundle)
    with contextlib.ExitStack() as after_an_error:
        for position, cell in enumerate(bundle):
            lease = leases.acquire(cell.id, request.dead.get(cell.id))
            if lease is None:
                held.events.append(PutOff(bundle, bundle.cells[position:]))
                break
            after_an_error.callback(lease.release)
            _look(held, cell, lease)
        after_an_error.pop_all()
    return held


def _look(held: CellLeases, cell: Cell, lease: Lease) -> None:
    """Keep the lease of a cell that has no result yet."""
    if lease.number > 1:
        held.store.clean(cell)
    if found := _found(held, cell):
        held.events.append(found)
        lease.end()
    else:
        held.leases[cell.id] = lease


def _found(held: CellLeases, cell: Cell) -> Finished | None:
    """The result that a cell has by now, here or in another suite."""
    status = held.store.status(cell)
    if status is None and held.store.copy_from(cell):
        status = held.store.status(cell)
    is_retried = status == "failed" and held.request.failed.get(cell.id) == held.store.state(cell)
    return None if status is None or is_retried else finished(held.store, cell, by_others=True)


def finished(store: Store, cell: Cell, by_others: bool = False) -> Finished:
    """Tell that there is a result of a cell."""
    numbers = store.get(cell.id).numbers
    return Finished(cell, numbers.status, numbers.reason, by_others)


def store_result(
    held: CellLeases,
    cell: Cell,
    result: Result,
    curves: Curves | None = None,
    masks: Masks | None = None,
) -> Event:
    """Store a result, if this process still holds the lease; what is finished is not replaced."""
    lease = held.leases[cell.id]
    if not lease.renew():
        return PutOff(held.bundle, (cell,))
    try:
        held.store.put(cell, result, curves, masks, stays=is_finished)
    except FileExistsError:
        event = finished(held.store, cell, by_others=True)
    except FileNotFoundError:
        lease.beat()
        if lease.is_lost:  # Who took it over has removed what was half-written.
            return PutOff(held.bundle, (cell,))
        raise
    else:
        event = Finished(cell, result.status, result.reason)
    lease.end()
    return event
