"""The cells that a run has still to see to, among other processes that may train some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from pai_bench.experiment.cell import Cell
from pai_bench.launch.cell_leases import finished
from pai_bench.launch.events import Event, Finished, PutOff
from pai_bench.launch.request import RunRequest
from pai_bench.store.lease import Leases
from pai_bench.store.lease_entry import Entry
from pai_bench.store.lease_watch import LeaseWatch
from pai_bench.store.store import Store


class PendingCells:
    """Cells without a result, or with a failed one that is to be run again.

    Args:
        request: The run that they are of.
        cells: These cells, in the order in which they are to be run.
    """

    def __init__(self, request: RunRequest, cells: Sequence[Cell]) -> None:
        self._store = Store(request.runs, request.suite)
        self._leases = Leases(request.runs, request.settings.take_over, request.suite)
        self._watch = LeaseWatch(self._leases)
        self._cells = {cell.id: cell for cell in cells}
        self._held: dict[str, Entry] = {}
        self.failed = {cell.id: self._store.state(cell) for cell in cells}
        """States of the results that are to be replaced."""

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def cells(self) -> list[Cell]:
        """The cells, in the order in which they are to be run."""
        return list(self._cells.values())

    def copied(self) -> int:
        """Copy what other suites have; return the number of cells that are no longer pending."""
        elsewhere = self._store.ids_elsewhere()
        found = [c for cell_id, c in self._cells.items() if cell_id in elsewhere and self._copy(c)]
        for cell in found:
            del self._cells[cell.id]
        return len(found)

    def _copy(self, cell: Cell) -> bool:
        if self._store.elsewhere(cell) is None:
            return False
        lease = self._leases.acquire(cell.id)
        if lease is None:
            return False
        try:
            is_copied = self._store.copy_from(cell)
            if is_copied:
                lease.end()
            return is_copied
        finally:
            lease.release()

    def free(self) -> list[Cell]:
        """The cells that nobody trains as of now."""
        self._held = self._watch.look(self._cells.keys())
        return [cell for cell_id, cell in self._cells.items() if cell_id not in self._held]

    @property
    def dead(self) -> Mapping[str, Entry]:
        """Entries of leases that may be taken over."""
        return self._watch.dead

    def found(self) -> Iterator[Finished]:
        """Tell which of the cells that others trained have a result by now, here or elsewhere."""
        for cell_id in list(self._held):
            cell = self._cells.get(cell_id)
            if cell and self._store.state(cell) != self.failed[cell_id]:
                del self._cells[cell_id]
                yield finished(self._store, cell, by_others=True)

    def passed(self, cells: Collection[Cell], events: Iterator[Event]) -> Iterator[Event]:
        """Pass on the events of a launch of `cells`; of these only those put off stay pending."""
        put_off: set[str] = set()
        for event in events:
            if isinstance(event, PutOff):
                put_off |= {cell.id for cell in event.cells}
            yield event
        for cell in cells:
            if cell.id not in put_off:
                self._cells.pop(cell.id, None)

    @property
    def waiting(self) -> str:
        """Say what this run waits for."""
        hosts = Counter(entry.holder.host or "another host" for entry in self._held.values())
        named = ", ".join(sorted(hosts))
        return f"waiting for {len(self._held)} cells that {named} trains"
