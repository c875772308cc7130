"""Replays as files: `replay-<paper>-<program>-run-<run>-<replica>.json` in a folder of results.

They lie beside the folders of suites, for a replay is no cell: nothing of it was chosen here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pai_bench.store import single_file
from pai_bench.store.result import Result


@dataclass(frozen=True, order=True)
class Replica:
    """One repetition of one run of the authors."""

    run: int
    """Theirs, from 1."""
    number: int
    """Ours, from 1."""


def write(folder: Path, paper: str, program: str, replica: Replica, result: Result) -> Path:
    """Write a replay and its digest; one that is there already is replaced.

    Returns:
        The file.
    """
    path = _path(folder, paper, program, replica)
    single_file.write(path, result, {}, indent=1)
    return path


def checkpoint(folder: Path, paper: str, program: str, replica: Replica) -> Path:
    """Path of the checkpoint of a replay that has not come to its end."""
    return _path(folder, paper, program, replica).with_suffix(".ckpt")


def _path(folder: Path, paper: str, program: str, replica: Replica) -> Path:
    return folder / f"{_stem(paper, program)}-run-{replica.run}-{replica.number}.json"


def read(folder: Path, paper: str, program: str) -> dict[Replica, Result]:
    """Read all replays of a program in a folder.

    Raises BenchError where one cannot be read, or was altered since it was written.
    """
    return {replica: read_replay(path) for replica, path in _files(folder, paper, program)}


def _files(folder: Path, paper: str, program: str) -> Iterator[tuple[Replica, Path]]:
    stem = _stem(paper, program)
    for path in sorted(folder.glob(f"{stem}-run-*.json")):
        if match := re.fullmatch(r"-run-(\d+)-(\d+)", path.stem.removeprefix(stem)):
            yield Replica(int(match[1]), int(match[2])), path


def _stem(paper: str, program: str) -> str:
    return f"replay-{paper}-{program}"


def read_replay(path: Path) -> Result:
    """Read one replay. Raises BenchError where it is none, or was altered since it was written."""
    return single_file.read(path, "a replay", "replay again")[0]
