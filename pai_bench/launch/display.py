"""Progress of a run: a live display on a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.launch.events import Event, Finished, PutOff, Started, Stopped
from pai_bench.launch.pace import Pace
from pai_bench.training.progress import Progress

START = 15.0
"""Seconds without a finished cell after which the remaining time is estimated."""


@dataclass
class _Running:
    """A bundle that a worker trains."""

    bundle: Bundle
    cells: dict[str, Cell]
    """Its unfinished cells, by id."""
    share: float = 0.0
    """Fraction of the training that is done."""
    message: str = "starting"
    pace: Pace = field(default_factory=Pace)


class ProgressDisplay:
    """Shows cells done, left and failed, the remaining time, and the epoch of each running bundle.

    Args:
        console: Where to print.
        cells: All cells of the run.
        cost: Relative cost of a cell, by which the remaining time is estimated.
    """

    def __init__(
        self, console: Console, cells: Sequence[Cell], cost: Callable[[Cell], float]
    ) -> None:
        self._console, self._cost = console, cost
        self.total, self._work = len(cells), sum(map(cost, cells))
        self.done = self.failed = 0
        """Numbers of cells: those that failed are done."""
        self._done_work = self._resumed_work = 0.0
        self._running: dict[str, _Running] = {}
        self._waiting = ""
        self._started = time.monotonic()
        self._last_line = 0.0
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4)

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        elif kind is None and self.done:
            self._console.print(self.status())

    def update(self, event: Event) -> None:
        """Process an event, and show the new state."""
        if isinstance(event, Started):
            cells = {cell.id: cell for cell in event.bundle}
            self._running[event.bundle.id] = _Running(event.bundle, cells)
        elif isinstance(event, Progress):
            self._advance(event)
        elif isinstance(event, Finished):
            self._finish(event)
        elif isinstance(event, PutOff):
            self._leave(event.cells)
        elif isinstance(event, Stopped):
            del self._running[event.bundle.id]
        self._waiting = ""
        self._log()

    def wait(self, line: str) -> None:
        """Show what the run waits for, while no worker does anything."""
        if line != self._waiting:
            self._waiting, self._last_line = line, 0.0
        self._log()

    def _leave(self, cells: Iterable[Cell]) -> None:
        """Cross cells out of those that run."""
        for bundle_id, running in list(self._running.items()):
            for cell in cells:
                running.cells.pop(cell.id, None)
            if not running.cells:
                del self._running[bundle_id]

    def _advance(self, event: Progress) -> None:
        running = self._running[event.bundle.id]
        jump = event.epoch - round(running.share * event.epochs)
        if jump > 1 and not running.share:  # An earlier run had trained these epochs.
            self._resumed_work += self._cost_of(running) * jump / event.epochs
        running.share = event.epoch / max(1, event.epochs)
        running.pace.note(event, time.monotonic())
        running.message = f"epoch {event.epoch}/{event.epochs}"
        if not event.epoch:
            running.message = ", ".join(filter(None, ("choosing masks", event.message)))

    def _finish(self, event: Finished) -> None:
        self._leave([event.cell])
        self.done += 1
        self._done_work += self._cost(event.cell)
        if event.status == "failed":
            self.failed += 1
            line = f"failed: {event.cell}: {event.reason}"
            self._console.print(line, style="red", markup=False)

    def _cost_of(self, running: _Running) -> float:
        return sum(self._cost(cell) for cell in running.cells.values())

    def status(self) -> str:
        """Format the state as one line: cells done, left and failed, and the remaining time."""
        entries = [f"{self.done}/{self.total} cells done", f"{self.total - self.done} left"]
        if self.failed:
            entries.append(f"{self.failed} failed")
        seconds = self.seconds_left()
        if self.done < self.total:
            remaining = duration(seconds) if seconds is not None else "estimating"
            entries.append(f"time left: {remaining}")
        else:
            entries.append(f"took {duration(time.monotonic() - self._started)}")
        return " · ".join(entries)

    def seconds_left(self) -> float | None:
        """Estimate the remaining time from the work done so far, running cells by their epochs.

        Where all that is left is being trained, it is the pace of these trainings that counts: how
        long their masks took to choose says nothing of what is left.

        Returns:
            Seconds; None in the first seconds, in which workers start and little is trained.
        """
        paces = [running.pace.seconds_left(time.monotonic()) for running in self._running.values()]
        known = [seconds for seconds in paces if seconds is not None]
        if known and len(known) == len(paces) and not self._is_anything_waiting():
            return max(known)
        begun = sum(self._cost_of(running) * running.share for running in self._running.values())
        done, elapsed = self._done_work + begun, time.monotonic() - self._started
        done_here = done - self._resumed_work
        if done_here <= 0 or (not self.done and elapsed < START):
            return None
        return elapsed * (self._work - done) / done_here

    def _is_anything_waiting(self) -> bool:
        running = sum(len(running.cells) for running in self._running.values())
        return self.done + running < self.total

    def _log(self) -> None:
        """Print to a log, at most every five seconds; on a terminal the display refreshes."""
        now = time.monotonic()
        if self._console.is_terminal or now - self._last_line < 5:
            return
        self._last_line = now
        self._console.print("\n".join([self.status(), *self._lines()]), highlight=False)

    def _lines(self) -> list[str]:
        lines = [f"  {running.bundle} · {running.message}" for running in self._running.values()]
        return [*lines, f"  {self._waiting}"] if self._waiting else lines

    def _render(self) -> Text:
        width = 24
        filled = int(width * self.done / max(1, self.total))
        bar = "━" * filled + "╌" * (width - filled)
        return Text("\n".join([f"{bar} {self.status()}", *self._lines()]), overflow="ellipsis")


def duration(seconds: float) -> str:
    """Format a time span in its two largest units.

    >>> duration(4.2), duration(125), duration(9000), duration(200000)
    ('4 s', '2 min 5 s', '2 h 30 min', '2 d 7 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for big, small, size, unit in (("d", "h", 86400, 3600), ("h", "min", 3600, 60)):
        if whole >= size:
            return f"{whole // size} {big} {whole % size // unit} {small}"
    return f"{whole // 60} min {whole % 60} s"
