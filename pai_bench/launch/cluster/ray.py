"""The launcher of a Ray cluster: bundles as tasks, each trained by a worker process of its node.

A task is the local launcher with one worker, so that a training that dies is told from a node that
is lost. Tasks end with this process. Folder of results and environment have to be where all nodes
see them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
import time
from collections import deque
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pai_bench.config.launchers import RayOptions
from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.hardware import Hardware, available_cores, gpus_of
from pai_bench.core.machine import AGAIN
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.cluster import journal
from pai_bench.launch.cluster.follow import FollowedJob, Follower
from pai_bench.launch.cluster.journal import JournalWriter
from pai_bench.launch.cluster.queued import JobEnd, QueuedJob
from pai_bench.launch.events import Event, Rejected
from pai_bench.launch.launcher import hardware_of
from pai_bench.launch.local import Local
from pai_bench.launch.request import RunRequest

_NO_CLUSTER = "launcher ray: no cluster at"
JOBS = 16
"""Bundles that run at a time on a cluster, unless something else is said."""
_OF_RAY = (
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "TPU_VISIBLE_CHIPS",
)
"""Variables by which Ray gives devices to a task."""


class Ray:
    """Runs bundles as tasks; each has GPUs of its own."""

    def __init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise BenchError('launcher ray: Ray is missing: pip install "pai-bench[ray]"')

    def hardware(self, settings: Benchmark, asked: Hardware) -> Hardware:
        """What bundles run on: GPUs if the options ask for some, whatever this machine has."""
        if asked.nodes > 1:
            raise BenchError("--nodes: a task of Ray trains on one; launcher slurm uses several")
        return hardware_of("ray", settings.launchers.ray.gpus, asked)

    def number_of_jobs(self, settings: Benchmark, asked: int) -> int:
        """Number of bundles that run at a time; on this machine, as many as it has room for."""
        options = settings.launchers.ray
        if asked or options.jobs:
            return asked or options.jobs or 0
        if _address(options) != "local":
            return JOBS
        rooms = [has // given for given, has in _given(settings).values() if given]
        return max(1, min(rooms))

    def launch(self, request: RunRequest, jobs: int) -> Generator[Event]:
        """Run all bundles of `request` (see `launcher.Launcher`)."""
        tasks = _Tasks(request, jobs)
        try:
            yield from Follower(request, tasks).follow([], request.bundles)
            tasks.discard()
        finally:
            tasks.close()

    def detached(self) -> str:
        """Nothing goes on without this process."""
        return "the same command resumes"

    def queue(self, runs: Path) -> list[QueuedJob]:
        """No tasks, for they belong to a process that runs."""
        return []


def _address(options: RayOptions) -> str:
    return options.address or os.environ.get("RAY_ADDRESS") or "local"


def _given(settings: Benchmark) -> dict[str, tuple[int, int]]:
    """What a bundle is given, and what this machine has, by the name that Ray has for it."""
    options = settings.launchers.ray
    return {
        "num_cpus": (options.cpus or settings.threads, available_cores()),
        "num_gpus": (options.gpus, len(gpus_of(Hardware("gpu")))),
    }


def _check(address: str, given: Mapping[str, tuple[int, int]]) -> None:
    """Raise BenchError where Ray itself would wait for minutes, or for ever.

    That is where nothing answers at host:port, and for what this machine does not have.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise BenchError(f"{_NO_CLUSTER} {address}: {first_line(error)}") from error
    for name, (number, has) in given.items():
        if address == "local" and number > has:
            what = name.removeprefix("num_")
            raise BenchError(f"launcher ray: a bundle gets {number} {what}, this machine has {has}")


class _Tasks:
    """The tasks of one run, some of which wait until others have ended."""

    pace = 0.3

    def __init__(self, request: RunRequest, jobs: int) -> None:
        self._jobs, self._number = jobs, 0
        self._folder = request.runs.resolve() / request.suite / ".ray" / secrets.token_hex(4)
        self._waiting: deque[FollowedJob] = deque()
        self._running: dict[Any, FollowedJob] = {}
        self._connect(request)

    def _connect(self, request: RunRequest) -> None:
        import ray

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        options, given = request.settings.launchers.ray, _given(request.settings)
        address = _address(options)
        here = {name: has for name, (_, has) in given.items()} | {"include_dashboard": False}
        _check(address, given)
        try:
            more = here if address == "local" else {}
            ray.init(address, log_to_driver=False, logging_level="ERROR", **more)
        except Exception as error:  # Ray has no common base of what connecting raises.
            raise BenchError(f"{_NO_CLUSTER} {address}: {first_line(error)}") from error
        memory = {"memory": int(options.memory_gb * 2**30)} if options.memory_gb else {}
        of_each = {name: number for name, (number, _) in given.items()}
        self._task = ray.remote(max_retries=0, **of_each, **memory)(_run)
        asked = replace(request, bundles=(), runs=request.runs.resolve())
        self._request = ray.put(asked)

    def submit(self, bundles: Sequence[Bundle]) -> list[FollowedJob]:
        """Let bundles wait for their turn."""
        jobs = []
        for bundle in bundles:
            self._number += 1
            folder = self._folder / str(self._number)
            folder.mkdir(parents=True)
            jobs.append(FollowedJob(str(self._number), bundle, folder))
        self._waiting.extend(jobs)
        self._start()
        return jobs

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._jobs:
            job = self._waiting.popleft()
            reference = self._task.remote(self._request, job.bundle, str(job.folder))
            self._running[reference] = job

    def ends(self, jobs: Collection[FollowedJob]) -> Mapping[str, JobEnd]:
        """Tell which tasks have ended, and let others have their turn."""
        import ray

        of_these = {job.id for job in jobs}
        ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        ends = {self._running.pop(task).id: _end_of(task) for task in ready}
        self._start()
        return {job: end for job, end in ends.items() if job in of_these}

    def cancel(self, jobs: Collection[FollowedJob]) -> None:
        """End all tasks."""
        self._waiting.clear()
        self.close()

    def close(self) -> None:
        """End what still runs, and leave the cluster."""
        import ray

        for task in self._running:
            ray.cancel(task, force=True)
        self._running.clear()
        ray.shutdown()

    def discard(self) -> None:
        """Remove the journals, when all has gone well."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()  # Only an empty folder can be removed.


def _end_of(task: Any) -> JobEnd:
    import ray

    try:
        ray.get(task)
    except ray.exceptions.OutOfMemoryError:
        return JobEnd("faulty", f"its memory was used up; allow it a larger memory_gb; {AGAIN}")
    except ray.exceptions.RayTaskError as error:
        return JobEnd("faulty", first_line(error.cause or error))
    except ray.exceptions.RayError as error:
        return JobEnd("lost", f"{type(error).__name__}: {first_line(error)}")
    return JobEnd("lost", "it ended without a result")


def _run(request: RunRequest, bundle: Bundle, folder: str) -> None:
    """The task: train a bundle in a worker process of this node, and keep its journal."""
    devices = {name: os.environ[name] for name in _OF_RAY if name in os.environ}
    environment = {**request.environment, **devices}
    os.environ.update(environment)  # Kernels are chosen by it where the worker is forked from.
    asked = replace(request, bundles=(bundle,), environment=environment)
    writer = JournalWriter(journal.path(Path(folder), bundle))
    if time.time() < request.deadline:
        try:
            for event in Local(Path(folder)).launch(asked, 1):
                writer.tell(event)
        except BenchError as error:
            writer.tell(Rejected(bundle, str(error)))
