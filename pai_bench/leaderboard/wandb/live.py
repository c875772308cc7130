"""Runs in W&B that grow while their networks train: those that the mirror writes in the end.

A run's history has one record per epoch, as the mirror's has (runs.py), of the seeds that are done
and those that are trained: what is streamed is what the mirror would write if the training ended
now. It always begins with the first epoch, for a training that resumes tells what was before, and
what other seeds have got is in the store. So a run may be opened anew at any time, over itself: a
record is never there twice, and the mirror's records replace those that were streamed, one by one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType

from pai_bench.core.hardware import available_cores
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import training_images
from pai_bench.launch.events import Event, Finished, PutOff, Started
from pai_bench.launch.request import RunRequest
from pai_bench.leaderboard.wandb.client import problem_of
from pai_bench.leaderboard.wandb.report import run_id
from pai_bench.leaderboard.wandb.runs import described, epochs
from pai_bench.leaderboard.wandb.stream import Close, Log, Message, Open, Stream
from pai_bench.store.lease import Leases
from pai_bench.store.store import Curves, Store, StoredResult
from pai_bench.training.progress import CurvePoint, Progress
from pai_bench.training.schedule import learning_rates

START = 10.0
"""Seconds that a network has been trained before it is streamed: what is shorter comes with the
mirror."""
SHARE = 0.01
"""Part of the time of all processors that streaming may take: nothing is begun beyond it."""
STARTING, OPENING, RECORD = 2.5, 0.25, 1.5e-3
"""Seconds of a processor that it takes to start the process, to open a run, and for each record:
2, 0.1 and 1.25e-3, here and in W&B's client, where they were measured."""
PACE = 5.0
"""Seconds between two parcels of records of a run."""
MOST = 100
"""Runs that are open at a time."""
MOST_RECORDS = 10_000
"""Records in one parcel."""
FAREWELL = 5.0
"""Seconds that W&B has, after all trainings, to take what was sent."""
INTERRUPTED = 3.0
"""The same, after an interrupt."""


@dataclass
class _Seed:
    """A network whose training this process follows."""

    curves: dict[str, list[float]] = field(default_factory=dict)
    began: float = 0.0
    """When the first of its points came."""
    is_running: bool = True

    def add(self, point: CurvePoint, now: float) -> None:
        """Add a point; of a training that began again those that were there are replaced."""
        self.began = self.began or now
        for name, value in point.values.items():
            curve = self.curves.setdefault(name, [])
            del curve[point.epoch - 1 :]
            curve.append(value)


@dataclass
class _Run:
    """A run, and what was sent of it."""

    cell: Cell
    """One of its seeds."""
    rates: Sequence[float]
    """Learning rate of each epoch."""
    stored: Mapping[int, Curves] = field(default_factory=dict)
    """Curves by seed that were there when it was opened."""
    seeds: dict[int, _Seed] = field(default_factory=dict)
    sent: set[int] | None = None
    """Seeds that it was opened with; None while it is not open."""
    records: int = 0
    """Number of records that were sent."""
    last: float = 0.0
    """When the last ones were sent."""

    def ready(self, now: float) -> set[int]:
        """Seeds that are trained, and have been for a while."""
        return {
            number for number, seed in self.seeds.items()
            if seed.is_running and seed.began and now - seed.began >= START
        }  # fmt: skip


class LiveRuns:
    """Follows the events of a run of a suite, and streams the curves of what takes a while.

    Whatever W&B does, an event takes no time here and nothing is raised.

    Args:
        request: What is run.
        folder: Where W&B's client keeps what it writes.
        mode: `auto`, `online`, or any other, with which nothing is streamed.
    """

    def __init__(self, request: RunRequest, folder: Path, mode: str) -> None:
        self._request, self._settings = request, request.settings
        self._folder, self._mode = folder, mode
        self._runs: dict[str, _Run] = {}
        self._begun: set[str] = set()
        """Ids of the cells that this process, or a worker of it, has begun to train."""
        self._stream: Stream | None = None
        self._began, self._spent = time.monotonic(), 0.0
        self._is_over = mode not in ("auto", "online")
        self._problem = ""

    def __enter__(self) -> LiveRuns:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask for an end, and after an interrupt see to it."""
        self._is_over = True
        if self._stream is not None:
            self._stream.end()
            if kind is not None:
                self.wait(INTERRUPTED)

    def wait(self, seconds: float = FAREWELL) -> str:
        """Wait for the end, which another writer of these runs has to; return what went wrong."""
        if self._stream is not None:
            self._problem = self._stream.wait(seconds) or self._problem
            self._stream = None
        return self._problem

    def update(self, event: Event) -> None:
        """Take note of an event."""
        if self._is_over:
            return
        try:
            for run in self._noted(event, time.monotonic()):
                self._advance(run, time.monotonic())
        except Exception as error:  # It is not worth a training.
            self._is_over, self._problem = True, problem_of(error)

    def _noted(self, event: Event, now: float) -> Iterable[str]:
        """Note what an event says; return the ids of the runs that it is about."""
        if isinstance(event, Started):
            self._begun |= {cell.id for cell in event.bundle}
            return []
        if isinstance(event, Progress):
            return self._progressed(event, now)
        if isinstance(event, Finished):
            return [self._ended(event.cell, event.status == "done")]
        cells = event.cells if isinstance(event, PutOff) else event.bundle
        return [self._ended(cell, False) for cell in cells]

    def _progressed(self, event: Progress, now: float) -> Iterable[str]:
        points: dict[str, list[CurvePoint]] = {}
        for point in event.points:
            points.setdefault(point.cell, []).append(point)
        trained = [cell for cell in event.bundle if cell.id in points]
        for cell in trained:
            seed = self._run(cell).seeds.setdefault(cell.seed, _Seed())
            for point in points[cell.id]:
                seed.add(point, now)
        return dict.fromkeys(map(run_id, trained))

    def _run(self, cell: Cell) -> _Run:
        name = run_id(cell)
        if name not in self._runs:
            rates = learning_rates(cell.recipe, training_images(cell, self._settings))
            self._runs[name] = _Run(cell, rates)
        return self._runs[name]

    def _ended(self, cell: Cell, is_kept: bool) -> str:
        """Note that a cell is trained no more; keep its curves where it has a result."""
        run = self._run(cell)
        self._send_records(run, time.monotonic())
        if is_kept and cell.seed in run.seeds:
            run.seeds[cell.seed].is_running = False
        else:
            run.seeds.pop(cell.seed, None)
        return run_id(cell)

    def _advance(self, name: str, now: float) -> None:
        """Open, continue or close a run, as its seeds are."""
        run = self._runs[name]
        ready = run.ready(now)
        if run.sent is not None and not ready:
            self._send(Close(name, is_failed=not (run.seeds or run.stored)))
            run.sent = None
        elif ready and (run.sent is None or not ready <= run.sent):
            self._open(run, name, ready, now)
        if run.sent is not None and now - run.last >= PACE:
            run.last = now
            self._send_records(run, now)

    def _open(self, run: _Run, name: str, ready: set[int], now: float) -> None:
        """Open a run with all seeds that have something to show."""
        others = sum(other.sent is not None for other in self._runs.values() if other is not run)
        cost = OPENING + (STARTING if self._stream is None else 0.0)
        if others >= MOST or cost > self._left(now) or self._is_shared(name):
            return
        self._spent += cost
        run.stored = {entry.cell.seed: entry.curves() for entry in self._stored_of(run.cell)}
        done = {number for number, seed in run.seeds.items() if not seed.is_running}
        run.sent, run.records, run.last = {*run.stored, *done, *ready}, 0, 0.0
        description = described(run.cell, self._request.suite, self._settings)
        config = {**description.config, "seeds": sorted(run.sent)}
        self._send(Open(replace(description, config=config)))

    def _left(self, now: float) -> float:
        """Seconds of a processor that streaming may still take."""
        return SHARE * available_cores() * (now - self._began) - self._spent

    def _is_shared(self, name: str) -> bool:
        """Tell whether another process trains seeds of the same run: it is left to the mirror."""
        cells = {cell.id for cell in self._request.cells if run_id(cell) == name}
        held = Leases(self._request.runs).entries(cells - self._begun).values()
        return any(not entry.is_open for entry in held)

    def _send_records(self, run: _Run, now: float) -> None:
        """Send what an open run has got since records were sent last, or as much as is affordable.

        What is left comes later, or with the mirror.
        """
        if run.sent is None:
            return
        known = {**run.stored, **{number: seed.curves for number, seed in run.seeds.items()}}
        curves = {number: known[number] for number in sorted(run.sent & known.keys())}
        most = max(0, int(min(MOST_RECORDS, self._left(now) / RECORD)))
        records = epochs(curves, run.rates, run.records, most) if curves else []
        if records:
            run.records += len(records)
            self._spent += RECORD * len(records)
            self._send(Log(run_id(run.cell), records))

    def _stored_of(self, cell: Cell) -> Iterator[StoredResult]:
        """Results of the run that a cell is in, as of when a run was opened first."""
        for entry in self._stored:
            alike = (entry.cell.method, entry.cell.density) == (cell.method, cell.density)
            if alike and entry.numbers.status == "done" and run_id(entry.cell) == run_id(cell):
                yield entry

    @cached_property
    def _stored(self) -> Sequence[StoredResult]:
        return Store(self._request.runs, self._request.suite).entries()

    def _send(self, message: Message) -> None:
        if self._stream is None:
            self._stream = Stream(self._settings, self._folder, self._mode)
        self._stream.send(message)
