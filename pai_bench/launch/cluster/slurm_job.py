"""One bundle as a job of Slurm: what runs on the machine that the queue chose."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pai_bench.core import environment, processes
from pai_bench.core.hardware import share
from pai_bench.core.node import this_node
from pai_bench.launch.cluster import journal, slurm_queue
from pai_bench.launch.cluster.journal import JournalWriter
from pai_bench.launch.cluster.submission import Submission
from pai_bench.launch.events import Event, Started, Stopped
from pai_bench.launch.request import RunRequest

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""By which a queue says that it will end a job."""


@dataclass(frozen=True)
class BundleJob:
    """The job, which submitit calls where it runs.

    A signal of the queue makes it write a checkpoint and stop. It queues again then, by submitit's
    own handler of such signals, which is called between two steps and not within one; not where the
    queue is ending the job already: whoever cancels a job does not want it back.

    Args:
        folder: Folder of the submission.
        index: Which of its bundles.
    """

    folder: str
    index: int

    def __call__(self) -> None:
        """Run the bundle."""
        queue_again = _handler_of_submitit()
        if self._is_stopped() and slurm_queue.is_running(os.environ["SLURM_JOB_ID"]):
            # Where queues take nothing back, the run that follows this job submits it again.
            with contextlib.suppress(subprocess.SubprocessError):
                queue_again(signal.SIGUSR2, None)

    def _is_stopped(self) -> bool:
        """Run the bundle; tell whether it stopped because the queue asked for it."""
        processes.end_on(SIGNALS)
        request = Submission(Path(self.folder)).request()
        environment.adopt(dict(os.environ), request.command)
        if request.hardware.nodes == 1:
            return self._trained(request)
        from pai_bench.training.follower import follow
        from pai_bench.training.meeting import served

        node = this_node(request.hardware.nodes)
        if node.number:
            follow(node, print)
            return False
        with served(node, print):
            return self._trained(request)

    def _trained(self, request: RunRequest) -> bool:
        from pai_bench.launch.run_bundle import run_bundle

        bundle = request.bundles[self.index]
        writer = JournalWriter(journal.path(Path(self.folder), bundle))
        last: Event = Stopped(bundle)

        def tell(event: Event) -> None:
            nonlocal last
            last = event
            writer.tell(event)

        if not processes.is_asked_to_end() and time.time() < request.deadline:
            tell(Started(bundle))
            run_bundle(request, bundle, share(request.hardware, 0), tell)
        return isinstance(last, Stopped) and processes.is_asked_to_end()

    def checkpoint(self) -> Any:
        """Return what runs when the job has queued again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _handler_of_submitit() -> Callable[[int, None], Any]:
    handlers = [signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGUSR1)]
    return next(handler for handler in handlers if callable(handler))
