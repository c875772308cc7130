"""How far a run has come: a live display on a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.launch.events import Event, Finished, Started
from pai_bench.training.progress import Progress

START = 15.0
"""Seconds before time left is estimated from cells of which none has finished."""


@dataclass
class _InHand:
    """A bundle that a worker has."""

    bundle: Bundle
    cells: dict[str, Cell]
    """Of it, those that have not finished, by id."""
    share: float = 0.0
    """Part of the training that is over."""
    message: str = "starting"


class ProgressDisplay:
    """Cells done, left and failed, the time left, and the epoch of each bundle in hand.

    `cost` weighs cells against one another, so that the time left is right when they differ.
    """

    def __init__(
        self, console: Console, cells: Sequence[Cell], cost: Callable[[Cell], float]
    ) -> None:
        self._console, self._cost = console, cost
        self._total, self._work = len(cells), sum(map(cost, cells))
        self._done = self._failed = 0
        self._done_work = self._resumed_work = 0.0
        self._in_hand: dict[str, _InHand] = {}
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
        elif kind is None and self._done:
            self._console.print(self.status())

    def update(self, event: Event) -> None:
        """Take note of what happened; show it."""
        if isinstance(event, Started):
            cells = {cell.id: cell for cell in event.bundle}
            self._in_hand[event.bundle.id] = _InHand(event.bundle, cells)
        elif isinstance(event, Progress):
            self._advance(event)
        elif isinstance(event, Finished):
            self._finish(event)
        self._say()

    def _advance(self, event: Progress) -> None:
        in_hand = self._in_hand[event.bundle.id]
        jump = event.epoch - round(in_hand.share * event.epochs)
        if jump > 1:  # An earlier run had trained these epochs.
            self._resumed_work += self._cost_of(in_hand) * jump / event.epochs
        in_hand.share = event.epoch / max(1, event.epochs)
        in_hand.message = f"epoch {event.epoch}/{event.epochs}"
        if not event.epoch:
            in_hand.message = ", ".join(filter(None, ("choosing masks", event.message)))

    def _finish(self, event: Finished) -> None:
        for bundle_id, in_hand in list(self._in_hand.items()):
            if in_hand.cells.pop(event.cell.id, None) and not in_hand.cells:
                del self._in_hand[bundle_id]
        self._done += 1
        self._done_work += self._cost(event.cell)
        if event.status == "failed":
            self._failed += 1
            line = f"failed: {event.cell}: {event.reason}"
            self._console.print(line, style="red", markup=False)

    def _cost_of(self, in_hand: _InHand) -> float:
        return sum(self._cost(cell) for cell in in_hand.cells.values())

    def status(self) -> str:
        """One line: done, left, failed, time left."""
        parts = [f"{self._done}/{self._total} cells done", f"{self._total - self._done} left"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        left = self.seconds_left()
        if self._done < self._total:
            parts.append("time left: " + (duration(left) if left is not None else "estimating"))
        else:
            parts.append(f"took {duration(time.monotonic() - self._started)}")
        return " · ".join(parts)

    def seconds_left(self) -> float | None:
        """Extrapolate from the work done so far, cells in hand counted by their epochs.

        None in the first seconds, which the start of the workers would make look slow.
        """
        begun = sum(self._cost_of(one) * one.share for one in self._in_hand.values())
        done, elapsed = self._done_work + begun, time.monotonic() - self._started
        here = done - self._resumed_work
        if here <= 0 or (not self._done and elapsed < START):
            return None
        return elapsed * (self._work - done) / here

    def _say(self) -> None:
        """In a log, speak every five seconds; on a terminal the display refreshes itself."""
        now = time.monotonic()
        if self._console.is_terminal or now - self._last_line < 5:
            return
        self._last_line = now
        self._console.print("\n".join([self.status(), *self._hands()]), highlight=False)

    def _hands(self) -> list[str]:
        return [f"  {one.bundle} · {one.message}" for one in self._in_hand.values()]

    def _render(self) -> Text:
        width = 24
        filled = int(width * self._done / max(1, self._total))
        bar = "━" * filled + "╌" * (width - filled)
        return Text("\n".join([f"{bar} {self.status()}", *self._hands()]), overflow="ellipsis")


def duration(seconds: float) -> str:
    """Say a time span in the two units that matter.

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
