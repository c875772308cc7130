"""Join folders of results that several machines have filled.

What is the same is kept once: two results of a cell are the same when all is that was computed, not
when they took as long. Whatever else differs is a contradiction, and nothing is written. A finished
result goes before a failed one, and that before FLOPs that were only counted. Leases, checkpoints,
pages and indexes stay where they are: they are of trainings that go on, or can be made anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pai_bench.core.errors import BenchError
from pai_bench.core.files import atomic_folder, atomic_write
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store.index import cell_ids
from pai_bench.store.integrity import record_digest
from pai_bench.store.result import precedence
from pai_bench.store.stored_result import CURVES, MASKS, RESULT, read_json, read_record
from pai_bench.store.verification import check_single, single_files, suites_of, verify_suite

OF_THE_MACHINE = ("seconds", "memory_mb", "environment", "traceback")
"""What of a result two machines may say differently of the same training."""


@dataclass
class MergePlan:
    """What a merge is to do, made without writing anything."""

    target: Path
    copies: dict[Path, Path] = field(default_factory=dict)
    """By place in the target: the folders and files that come there."""
    same: int = 0
    """Cells, searches, replays and spectra that several folders have."""
    contradictions: list[str] = field(default_factory=list)

    def write(self) -> None:
        """Copy, each whole or not at all; to repeat it after an interrupt does no harm."""
        for place, source in self.copies.items():
            if source.is_dir():
                with atomic_folder(place) as beside:
                    shutil.copytree(source, beside, dirs_exist_ok=True)
            else:
                with atomic_write(place, sync=True) as beside:
                    shutil.copyfile(source, beside)


def plan_merge(
    folders: Sequence[Path],
    target: Path,
    methods: Mapping[str, MethodInfo],
    prefer: Path | None = None,
) -> MergePlan:
    """Check folders of results, and choose what of each goes to the target.

    Args:
        folders: The folders; of what is the same, that of the first is kept.
        target: Where all goes: one of these, or another folder.
        methods: Declarations of the methods, by name.
        prefer: The folder whose results stay where they contradict others.

    Raises:
        BenchError: A folder is none, or something in it is not what was written.
    """
    sources = list(dict.fromkeys([*([target] if target.is_dir() else []), *folders]))
    for runs in sources:
        _verify(runs, methods)
    if prefer:
        sources.sort(key=lambda runs: runs != prefer)
    plan = MergePlan(target)
    for place, found in sorted(_by_place(sources).items()):
        _choose(plan, place, found, prefer)
    return plan


def _verify(runs: Path, methods: Mapping[str, MethodInfo]) -> None:
    for suite in suites_of(runs):
        verified = verify_suite(runs, suite, methods)
        if verified and verified.problems:
            more = len(verified.problems) - 1
            raise BenchError(f"{verified.problems[0]}{f' (and {more} more)' if more else ''}")
    for path in single_files(runs):
        check_single(path)


def _by_place(sources: Sequence[Path]) -> dict[str, list[Path]]:
    """All that is merged of the folders, by its place in each."""
    places: dict[str, list[Path]] = {}
    for runs in sources:
        for path in (*_cells(runs), *single_files(runs)):
            places.setdefault(path.relative_to(runs).as_posix(), []).append(path)
    return places


def _cells(runs: Path) -> Iterator[Path]:
    for suite in suites_of(runs):
        for cell_id in cell_ids(str(runs / suite)):
            if (runs / suite / cell_id / RESULT).is_file():
                yield runs / suite / cell_id


def _choose(plan: MergePlan, place: str, found: Sequence[Path], prefer: Path | None) -> None:
    """Choose which of the paths that are for one place goes there."""
    ranks = [_rank(path) for path in found]
    best = [path for path, rank in zip(found, ranks, strict=True) if rank == max(ranks)]
    differing = {other: words for other in best[1:] if (words := _difference(best[0], other))}
    # Of the same results one may be evidence, which has no masks.
    chosen = best[0] if differing else max(best, key=lambda path: (path / MASKS).is_file())
    if not (prefer and chosen.is_relative_to(prefer)):
        name = place.rpartition("/")[2]
        plan.contradictions += [
            f"{name}: {words} differ between {chosen} and {other}"
            for other, words in differing.items()
        ]
    plan.same += len(found) - 1
    if chosen != plan.target / place:
        plan.copies[plan.target / place] = chosen


def _rank(path: Path) -> int:
    """Order of what is kept; of files there is one kind."""
    return precedence(read_record(str(path))["result"]["status"]) if path.is_dir() else 0


def _difference(one: Path, other: Path) -> str:
    """Name what two computed differently; "" for nothing."""
    if one.suffix == ".pt":
        from pai_bench.store.search_cache import is_same

        return "" if is_same(one, other) else "what was found"
    if not one.is_dir():
        return "numbers" if _of_file(one) != _of_file(other) else ""
    return _of_cells(one, other)


def _of_cells(one: Path, other: Path) -> str:
    records = [read_record(str(path)) for path in (one, other)]
    statuses = [record["result"]["status"] for record in records]
    if statuses == ["failed", "failed"]:
        return ""
    words = [
        word
        for name, word in ((CURVES, "curves"), (MASKS, "masks"))
        if records[0]["files"].get(name) != records[1]["files"].get(name)
    ]
    if not words and _computed(records[0]) != _computed(records[1]):
        words = ["numbers"]
    return " and ".join(words)


def _of_file(path: Path) -> str:
    return _computed(read_json(str(path)))


def _computed(record: Mapping[str, Any]) -> str:
    """Digest of what a result holds that does not depend on the machine."""
    result = {key: value for key, value in record["result"].items() if key not in OF_THE_MACHINE}
    return record_digest(result)
