"""The launcher of a Slurm cluster: bundles as the jobs of an array, submitted by submitit.

The jobs live in the queue: they go on when this process ends, and a later run of the same command
comes back to them. Folder of results, checkout and environment have to be where the nodes see them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import signal
import subprocess
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pai_bench.config.launchers import SlurmOptions
from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware, check_strategy
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.cluster import slurm_queue
from pai_bench.launch.cluster.follow import FollowedJob, Follower
from pai_bench.launch.cluster.queued import JobEnd, QueuedJob
from pai_bench.launch.cluster.slurm_job import BundleJob
from pai_bench.launch.cluster.submission import Submission, submissions
from pai_bench.launch.events import Event
from pai_bench.launch.launcher import hardware_of
from pai_bench.launch.request import RunRequest

ARRAY = 1000
"""Jobs of an array: Slurm's own limit, unless a cluster has another one."""
REQUEUES = 1_000_000
"""How often a job may queue again: as often as it gets on with it."""


def _folder(runs: Path, suite: str) -> Path:
    return runs / suite / ".slurm"


class Slurm:
    """Runs bundles as jobs of a queue; each has GPUs of its own."""

    def __init__(self) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise BenchError('launcher slurm: submitit is missing: pip install "pai-bench[slurm]"')
        if shutil.which("sbatch") is None:
            raise BenchError(
                "launcher slurm: there is no sbatch here: use a login node of the cluster"
            )
        self._follower: Follower | None = None

    def hardware(self, settings: Benchmark, asked: Hardware) -> Hardware:
        """What bundles run on: GPUs if the options ask for some, whatever this machine has."""
        options = settings.launchers.slurm
        nodes = asked.nodes if asked.nodes > 1 else options.nodes
        hardware = replace(hardware_of("slurm", options.gpus, asked), nodes=nodes)
        check_strategy(hardware)
        return hardware

    def number_of_jobs(self, settings: Benchmark, asked: int) -> int:
        """Number of bundles that run at a time."""
        return asked or settings.launchers.slurm.jobs

    def launch(self, request: RunRequest, jobs: int) -> Generator[Event]:
        """Submit what is not in the queue yet, and follow all of it (see `launcher.Launcher`).

        Closing the iterator leaves the jobs in the queue.
        """
        queue = _Queue(request, jobs)
        running = queue.running()
        queued = {cell.id for job in running for cell in job.bundle}
        left = [tuple(c for c in bundle if c.id not in queued) for bundle in request.bundles]
        self._follower = Follower(request, queue)
        yield from self._follower.follow(running, [Bundle(cells) for cells in left if cells])

    def detached(self) -> str:
        """Say what goes on without this process."""
        jobs = self._follower.jobs if self._follower else {}
        if not jobs:
            return "the same command resumes"
        arrays = " ".join(dict.fromkeys(job.partition("_")[0] for job in jobs))
        return (
            f"{len(jobs)} jobs go on in the queue: the same command comes back to them, "
            f"`pai-bench status` shows them, `scancel {arrays}` ends them"
        )

    def queue(self, runs: Path) -> list[QueuedJob]:
        """The jobs of a folder of results that wait or run."""
        seen = slurm_queue.queued_jobs()
        if seen is None:
            raise BenchError("launcher slurm: squeue does not answer")
        return [
            replace(seen[job], suite=folder.parent.name, bundle=bundle)
            for folder in sorted(runs.glob("*/.slurm"))
            for submission in submissions(folder)
            for job, bundle in submission.jobs().items()
            if not slurm_queue.is_over(seen.get(job))
        ]


class _Queue:
    """The queue, for the bundles of one run."""

    pace = 10.0

    def __init__(self, request: RunRequest, jobs: int) -> None:
        self._request, self._jobs = request, jobs
        self._options = request.settings.launchers.slurm
        self._folder = _folder(request.runs, request.suite)

    def running(self) -> list[FollowedJob]:
        """Jobs of earlier runs that wait or run; submissions whose jobs are over are removed."""
        wanted = {cell.id for cell in self._request.cells}
        seen = slurm_queue.queued_jobs() if self._folder.is_dir() else {}
        if seen is None:
            raise BenchError("launcher slurm: squeue does not answer: are earlier jobs running?")
        found = []
        for submission in submissions(self._folder):
            jobs = submission.jobs()
            _cancel([job for job in jobs if slurm_queue.is_held(seen.get(job))])
            alive = [job for job in jobs if not slurm_queue.is_over(seen.get(job))]
            if jobs and not alive:
                submission.discard()
            found += [
                FollowedJob(
                    job, jobs[job], submission.folder, wanted, submitted=submission.submitted
                )
                for job in alive
                if any(cell.id in wanted for cell in jobs[job])
            ]
        return found

    def submit(self, bundles: Sequence[Bundle]) -> list[FollowedJob]:
        """Submit bundles as arrays.

        Raises:
            BenchError: sbatch refuses them, with its reason.
        """
        return [
            job
            for start in range(0, len(bundles), ARRAY)
            for job in self._submit(bundles[start : start + ARRAY])
        ]

    def _submit(self, bundles: Sequence[Bundle]) -> list[FollowedJob]:
        import submitit

        submission = Submission.new(self._folder, self._request, bundles)
        folder = submission.folder.resolve()
        calls = [BundleJob(str(folder), index) for index in range(len(bundles))]
        with _submitting(self._request.environment):
            executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
            executor.update_parameters(**_parameters(self._options, self._request, self._jobs))
            try:
                jobs = executor.submit_array(calls)
            except submitit.core.utils.FailedJobError as error:
                submission.discard()
                said = str(error).strip().splitlines()[:1]
                raise BenchError(f"launcher slurm: {' '.join(said)}") from error
            submission.note_jobs([job.job_id for job in jobs])
        pairs = zip(jobs, bundles, strict=True)
        return [FollowedJob(job.job_id, bundle, folder) for job, bundle in pairs]

    def ends(self, jobs: Collection[FollowedJob]) -> Mapping[str, JobEnd]:
        """Tell which jobs have ended, and how."""
        seen = slurm_queue.queued_jobs()
        if seen is None:
            return {}
        _cancel([job.id for job in jobs if slurm_queue.is_held(seen.get(job.id))])
        return {
            job.id: slurm_queue.end_of(job.id, seen.get(job.id), job.folder / f"{job.id}_0_log.out")
            for job in jobs
            if slurm_queue.is_over(seen.get(job.id))
        }

    def cancel(self, jobs: Collection[FollowedJob]) -> None:
        """Cancel jobs."""
        _cancel([job.id for job in jobs])


def _cancel(jobs: Sequence[str]) -> None:
    if jobs:
        subprocess.run(["scancel", *jobs], check=False)


def _parameters(options: SlurmOptions, request: RunRequest, jobs: int) -> dict[str, Any]:
    """Options as submitit calls them."""
    given = {
        "job_name": f"pai-bench {request.suite}"[:100],
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "time": options.minutes,
        "signal_delay_s": options.warning_seconds,
        "mem": options.memory_gb,
        "cpus_per_task": options.cpus or request.settings.threads,
        "gpus_per_node": options.gpus or None,
        "nodes": request.hardware.nodes,
        "ntasks_per_node": 1,
        "array_parallelism": jobs,
        "setup": list(options.setup) or None,
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True, **options.options},
    }
    return {key: value for key, value in given.items() if value is not None}


@contextlib.contextmanager
def _submitting(variables: Mapping[str, str]) -> Iterator[None]:
    """Let jobs have the environment of the request: sbatch hands on that of its process.

    Without what Slurm set, where this process is in a job itself. What sbatch says comes in errors.
    Ctrl-C waits: jobs that are in the queue, and are not written down, nobody would come back to.
    """
    before = dict(os.environ)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update({k: v for k, v in variables.items() if _is_handed_on(k)})
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        signal.signal(signal.SIGINT, handler)
        os.environ.clear()
        os.environ.update(before)


def _is_handed_on(name: str) -> bool:
    return name == "SLURM_CONF" or not name.startswith(("SLURM_", "SUBMITIT_"))
