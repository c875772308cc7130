"""What Slurm says of jobs: squeue for those that are there, scontrol and sacct for how they ended.

squeue and scontrol forget a job some minutes after its end; sacct is there only where the cluster
keeps accounts.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from pai_bench.core.machine import AGAIN
from pai_bench.launch.cluster.queued import JobEnd, QueuedJob

LOST = ("PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED", "COMPLETED")
"""States of jobs that may be submitted again. What is completed, but for its results, has given
way to the queue, which did not take it back."""
ENDS = (*LOST, "CANCELLED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT")
_KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGBUS)


def _output(*command: str) -> str | None:
    """Run a command; None where it fails, as all do while the controller restarts."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def is_running(job: str) -> bool:
    """Whether a job runs, and nobody is ending it."""
    return (_output("squeue", "--noheader", f"--jobs={job}", "--format=%T") or "").split() == [
        "RUNNING"
    ]


def queued_jobs() -> dict[str, QueuedJob] | None:
    """All jobs of this user by id, an array's one by one; None where the queue does not answer."""
    output = _output(
        "squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}",
        "--format=%i|%T|%N|%M|%r",
    )  # fmt: skip
    if output is None:
        return None
    jobs = {}
    for line in output.splitlines():
        if line.count("|") == 4:
            job, state, node, elapsed, reason = line.split("|")
            jobs[job] = QueuedJob(job, state, node, elapsed, reason)
    return jobs


def is_held(job: QueuedJob | None) -> bool:
    """Whether the queue holds a job back because it could not start it."""
    return job is not None and "requeued held" in job.reason.replace("_", " ")


def is_over(job: QueuedJob | None) -> bool:
    """Whether a job has ended, or never starts."""
    return job is None or job.state in ENDS or is_held(job)


def end_of(job: str, seen: QueuedJob | None, log: Path) -> JobEnd:
    """Tell how a job that is over has ended.

    Args:
        job: Its id.
        seen: What squeue says, if anything.
        log: What it wrote.
    """
    if seen and is_held(seen):
        return JobEnd("faulty", f"the queue cannot start it ({seen.reason}), see {log}")
    state, code = _state_and_code(job)
    if state == "CANCELLED":
        return JobEnd("ended", "it was cancelled")
    if state in ("TIMEOUT", "DEADLINE"):
        reason = "it reached its time limit before a checkpoint; allow it more minutes"
        return JobEnd("timeout", reason)
    if state == "OUT_OF_MEMORY" or (state == "FAILED" and code - 128 in _KILLS):
        return JobEnd("faulty", f"its memory was used up; allow it a larger memory_gb; {AGAIN}")
    if state == "FAILED":
        return JobEnd("died", _cause_of_death(code, log))
    return JobEnd("lost", f"the queue says {state}")


def _state_and_code(job: str) -> tuple[str, int]:
    shown = _output("scontrol", "show", "job", job, "--oneliner")
    if shown is None:
        shown = _output(
            "sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={job}",
            "--format=State,ExitCode",
        )  # fmt: skip
        state, _, code = (shown or "nothing of it").strip().partition("|")
        found = re.match(r"(\d+):(\d+)", code)
    else:
        state = "".join(re.findall(r"JobState=(\w+)", shown)[:1])
        found = re.search(r"\bExitCode=(\d+):(\d+)", shown)
    status, number = map(int, found.groups()) if found else (0, 0)
    return state.split(" ")[0], status or number + 128 * bool(number)


def _cause_of_death(code: int, log: Path) -> str:
    """Say why a job died, by its exit code and the last line that it wrote.

    >>> _cause_of_death(139, Path("none"))
    'the job was killed by signal 11 (SIGSEGV)'
    """
    if code - 128 in signal.valid_signals():
        return f"the job was killed by signal {code - 128} ({signal.Signals(code - 128).name})"
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return f"the job ended with exit code {code}: {lines[-1].strip() if lines else 'no word'}"
