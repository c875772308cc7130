"""A submission: bundles that were handed to a queue in one call, and all that is known of it.

    runs/<suite>/.slurm/<number>/request.json        what its jobs run
                                 jobs.json           ids of its jobs, one a bundle
                                 <bundle id>.jsonl   the journal of a job

Beside these lie what submitit writes, and what the jobs say.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from pai_bench.core.files import atomic_write
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.request import RunRequest

_REQUEST, _JOBS = "request.json", "jobs.json"


class Submission:
    """One folder of a submission."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def new(cls, parent: Path, request: RunRequest, bundles: Sequence[Bundle]) -> Submission:
        """Write what jobs need. The environment, which may hold keys, is the queue's to hand on."""
        submission = cls(parent / secrets.token_hex(4))
        submission.folder.mkdir(parents=True)
        asked = replace(
            request, bundles=tuple(bundles), runs=request.runs.resolve(), environment={}
        )
        with atomic_write(submission.folder / _REQUEST) as beside:
            beside.write_bytes(_requests().dump_json(asked))
        return submission

    def request(self) -> RunRequest:
        """Read the request."""
        return _requests().validate_json((self.folder / _REQUEST).read_bytes())

    def note_jobs(self, jobs: Sequence[str]) -> None:
        """Write down the ids of the jobs, in the order of the bundles."""
        with atomic_write(self.folder / _JOBS) as beside:
            beside.write_text(json.dumps(jobs), encoding="ascii")

    @property
    def submitted(self) -> float:
        """When that was, by the clock of the disk."""
        return (self.folder / _JOBS).stat().st_mtime

    def jobs(self) -> dict[str, Bundle]:
        """The bundle of each job, by its id; none where that has not been written down."""
        try:
            jobs: list[str] = json.loads((self.folder / _JOBS).read_bytes())
        except FileNotFoundError:
            return {}
        return dict(zip(jobs, self.request().bundles, strict=True))

    def discard(self) -> None:
        """Remove it, when no job of it is left."""
        shutil.rmtree(self.folder, ignore_errors=True)


def submissions(parent: Path) -> Iterator[Submission]:
    """List the submissions in a folder."""
    for folder in sorted(parent.glob("*")):
        yield Submission(folder)


@cache
def _requests() -> TypeAdapter[RunRequest]:
    return TypeAdapter(RunRequest)
