"""Follow bundles that were handed to a cluster, and hand over again what it loses.

What becomes of a job that ended without all its results:

    its process died            its cells are run again, each alone; one that was alone has failed
    the cluster lost it         it is submitted again, and goes on from its checkpoint
    the machine is at fault     nothing is stored; the others go on, and the run ends with an error
    somebody cancelled it       nothing is stored; the next run submits it again
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Container, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from pai_bench.core.machine import MachineFault
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.launch.cell_leases import CellLeases, store_result
from pai_bench.launch.cluster import journal
from pai_bench.launch.cluster.journal import JournalReader
from pai_bench.launch.cluster.queued import JobEnd
from pai_bench.launch.events import Event, Finished, PutOff, Rejected, Started, Stopped
from pai_bench.launch.request import RunRequest
from pai_bench.store import checkpoint_files
from pai_bench.store.lease import Leases, held
from pai_bench.store.lease_watch import acquire_or_wait
from pai_bench.store.result import FINISHED, Result
from pai_bench.store.store import Store
from pai_bench.training.progress import Progress

GRACE = 15.0
"""Seconds after the deadline in which jobs may write their checkpoints."""
PAUSE = 0.2
"""Seconds between two looks at the journals."""
TRIES = 3
"""Number of times that a job may be lost one after another, without a new checkpoint."""


@dataclass
class FollowedJob:
    """A bundle in a cluster."""

    id: str
    whole: Bundle
    """What it trains."""
    folder: Path
    """Where its journal lies."""
    wanted: Container[str] | None = None
    """Ids of the cells that the run is about, where an earlier one has submitted it; else all."""
    tries: int = 1
    submitted: float = field(default_factory=time.time)
    is_running: bool = False
    has_begun: bool = False
    """Whether it got as far as a training, at least once."""

    def __post_init__(self) -> None:
        wanted = self.wanted
        cells = tuple(cell for cell in self.whole if wanted is None or cell.id in wanted)
        self.bundle = Bundle(cells)
        self.unfinished = {cell.id: cell for cell in cells}
        self.journal = JournalReader(journal.path(self.folder, self.whole), self.bundle)


class Cluster(Protocol):
    """What bundles are handed to."""

    pace: float
    """Seconds between two questions to it."""

    def submit(self, bundles: Sequence[Bundle]) -> Sequence[FollowedJob]:
        """Hand over bundles, each as a job."""

    def ends(self, jobs: Collection[FollowedJob]) -> Mapping[str, JobEnd]:
        """Tell which of the jobs have ended, by their ids, and how."""

    def cancel(self, jobs: Collection[FollowedJob]) -> None:
        """End jobs that wait or run."""


class Follower:
    """Turns what jobs tell, and what the cluster says of them, into events.

    Args:
        request: What is run.
        cluster: Where.
    """

    def __init__(self, request: RunRequest, cluster: Cluster) -> None:
        self._request, self._cluster = request, cluster
        self._store = Store(request.runs, request.suite)
        self._faults: list[str] = []
        self._look_again = False
        self.jobs: dict[str, FollowedJob] = {}
        """Those that are not done, by id."""

    def follow(self, running: Sequence[FollowedJob], bundles: Sequence[Bundle]) -> Generator[Event]:
        """Submit bundles, and yield the events of all jobs until they are done.

        Args:
            running: Jobs that an earlier run has submitted.
            bundles: What is to be submitted.

        Raises:
            MachineFault: Some jobs could not be run where they were; the others are done.
        """
        self.jobs = {job.id: job for job in running}
        self._submit(bundles)
        asked = time.monotonic()
        while self.jobs:
            for job in list(self.jobs.values()):
                yield from self._told(job)
            if self._look_again or time.monotonic() - asked >= self._cluster.pace:
                asked, self._look_again = time.monotonic(), False
                yield from self._look()
            if time.time() >= self._request.deadline + GRACE:
                self._cluster.cancel(self.jobs.values())
                break
            time.sleep(PAUSE)
        if self._faults:
            more = f" (and {len(self._faults) - 1} more jobs)" if self._faults[1:] else ""
            raise MachineFault(self._faults[0] + more)

    def _submit(self, bundles: Sequence[Bundle], tries: int = 1) -> None:
        if bundles:
            for job in self._cluster.submit(bundles):
                job.tries = tries
                self.jobs[job.id] = job

    def _told(self, job: FollowedJob) -> Iterator[Event]:
        """Pass on what a job has written; one whose cells are all finished is done."""
        for event in job.journal.events():
            if isinstance(event, Rejected):
                yield from self._stopped(job)
                self._give_up(job, event.reason)
            elif isinstance(event, Stopped):
                self._look_again = True
                yield from self._stopped(job)
            elif isinstance(event, Finished):
                yield from self._finished(job, event)
            elif isinstance(event, PutOff):
                yield from self._put_off(job, event)
            else:
                yield from self._started(job)
                if isinstance(event, Progress):
                    yield event

    def _started(self, job: FollowedJob) -> Iterator[Event]:
        if not job.is_running:
            job.is_running = job.has_begun = True
            yield Started(job.bundle)

    def _stopped(self, job: FollowedJob) -> Iterator[Event]:
        if job.is_running:
            job.is_running = False
            yield Stopped(job.bundle)

    def _finished(self, job: FollowedJob, event: Finished) -> Iterator[Event]:
        if job.unfinished.pop(event.cell.id, None):
            yield from self._started(job)
            yield event
        if not job.unfinished:
            self.jobs.pop(job.id, None)

    def _put_off(self, job: FollowedJob, event: PutOff) -> Iterator[Event]:
        """Leave to others what they train: the run looks at it again."""
        for cell in event.cells:
            job.unfinished.pop(cell.id, None)
        yield event
        if not job.unfinished:
            self.jobs.pop(job.id, None)

    def _give_up(self, job: FollowedJob, reason: str) -> None:
        self._faults.append(f"job {job.id} ({job.bundle}): {reason}")
        self.jobs.pop(job.id, None)

    def _look(self) -> Iterator[Event]:
        """Ask the cluster which jobs have ended."""
        for job_id, end in self._cluster.ends(self.jobs.values()).items():
            job = self.jobs[job_id]
            yield from self._told(job)
            yield from self._stored(job)
            if job_id in self.jobs:
                yield from self._ended(job, end)

    def _stored(self, job: FollowedJob) -> Iterator[Event]:
        """Tell of results that are there, whatever became of the journal."""
        for cell in list(job.unfinished.values()):
            status = self._store.status(cell)
            if status in FINISHED:
                yield from self._finished(job, Finished(cell, status))

    def _ended(self, job: FollowedJob, end: JobEnd) -> Iterator[Event]:
        """See to what a job has left undone.

        One whose last word was that it stops has not died, however its processes were ended then.
        """
        del self.jobs[job.id]
        if end.kind == "died" and job.has_begun and not job.is_running:
            end = replace(end, kind="lost")
        yield from self._stopped(job)
        rest = Bundle(tuple(job.unfinished.values()))
        if end.kind == "faulty" or (end.kind == "died" and not job.has_begun):
            self._give_up(job, end.reason)
        elif end.kind == "died" and len(rest) > 1:
            self._submit(rest.alone())
        elif end.kind == "died":
            yield from self._failed(rest.cells[0], end.reason)
        elif end.kind != "ended" and time.time() < self._request.deadline:
            self._again(job, rest, end)

    def _again(self, job: FollowedJob, rest: Bundle, end: JobEnd) -> None:
        """Submit what a job has left again, unless it gets nowhere."""
        tries = 1 if self._has_progressed(job) else job.tries + 1
        if tries <= (1 if end.kind == "timeout" else TRIES):
            self._submit([rest], tries)
        else:
            self._give_up(job, end.reason)

    def _has_progressed(self, job: FollowedJob) -> bool:
        """Whether the bundle of a job, or a cell of it, has a checkpoint newer than the job."""
        for bundle in (job.whole, *job.whole.alone()):
            with contextlib.suppress(FileNotFoundError):
                if (
                    checkpoint_files.path(self._request.runs, bundle).stat().st_mtime
                    > job.submitted
                ):
                    return True
        return False

    def _failed(self, cell: Cell, reason: str) -> Iterator[Event]:
        """Store a cell whose job has died as failed, as soon as the lease of the dead is free."""
        bundle, until = Bundle((cell,)), time.monotonic() + 2 * self._request.settings.take_over
        yield Started(bundle)
        leases = Leases(self._request.runs, self._request.settings.take_over, self._request.suite)
        lease = acquire_or_wait(leases, cell.id, lambda: time.monotonic() > until)
        if lease is None:  # By now another process has taken it over.
            yield PutOff(bundle, (cell,))
            return
        with held(lease):
            taken = CellLeases(self._request, self._store, bundle, {cell.id: lease})
            yield store_result(taken, cell, Result("failed", reason))
