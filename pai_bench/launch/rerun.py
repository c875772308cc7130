"""Train stored cells again, and compare curves and masks with what is stored, bit by bit."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark
from pai_bench.core import portable
from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import bundles
from pai_bench.experiment.cost import assumed_seconds
from pai_bench.launch import run as launch_run
from pai_bench.launch.request import RunRequest
from pai_bench.store.store import Store, StoredResult
from pai_bench.store.stored_result import MASKS, read_record


@dataclass(frozen=True)
class Rerun:
    """One cell, trained again."""

    stored: StoredResult
    differences: tuple[str, ...]
    """What is not the same; empty: the same bits."""


def chosen(entries: Sequence[StoredResult], settings: Benchmark, number: int) -> list[StoredResult]:
    """Choose the cells to train again: of every method its cheapest, then its second, and so on.

    Within a round the cheapest method comes first. Only cells that were trained on a processor, and
    whose network and data set these settings have, are chosen; of those without portable bits none,
    where training again would have them. A cell that lies in several folders counts once.

    Args:
        entries: The stored cells.
        settings: The benchmark.
        number: How many to choose.
    """
    by_method: dict[str, list[tuple[float, str, StoredResult]]] = defaultdict(list)
    for entry in {entry.cell.id: entry for entry in entries}.values():
        if _can_run(entry, settings):
            cost = assumed_seconds(entry.cell, settings)
            by_method[entry.cell.method].append((cost, entry.cell.id, entry))
    rounds = [
        (turn, cost, cell_id, entry)
        for of_method in by_method.values()
        for turn, (cost, cell_id, entry) in enumerate(sorted(of_method, key=lambda key: key[:2]))
    ]
    return [entry for *_, entry in sorted(rounds, key=lambda key: key[:3])[:number]]


def _can_run(entry: StoredResult, settings: Benchmark) -> bool:
    try:
        known = with_overrides(settings, entry.folder.parent.name)
    except BenchError:
        return False
    cell, made_with = entry.cell, entry.result.environment
    would_be_portable = settings.portable and portable.is_supported()
    return (
        entry.numbers.status == "done"
        and made_with.get("device") == "cpu"
        and (made_with.get("portable", False) or not would_be_portable)
        and cell.network in known.networks
        and cell.data in known.data
    )


def rerun(
    entries: Sequence[StoredResult],
    settings: Benchmark,
    plugins: tuple[Path, ...],
    console: Console,
    jobs: int = 0,
) -> Iterator[Rerun]:
    """Train cells again in a temporary folder, by the workers of any run.

    Args:
        entries: The stored cells.
        settings: The benchmark.
        plugins: Files with methods, networks or data sets of one's own.
        console: Where progress is shown.
        jobs: Number of workers; one a core unless given.

    Yields:
        Each cell with what differs, when those of its suite are trained.
    """
    by_suite: dict[str, list[StoredResult]] = defaultdict(list)
    for entry in entries:
        by_suite[entry.folder.parent.name].append(entry)
    with tempfile.TemporaryDirectory() as folder:
        for suite, of_suite in by_suite.items():
            work = tuple(bundles([entry.cell for entry in of_suite]))
            known, runs = with_overrides(settings, suite), Path(folder)
            request = RunRequest(suite, work, known, runs, Hardware("cpu", "1"), plugins)
            workers = launch_run.number_of_jobs(request, jobs)
            launch_run.run(request, workers, console, stack=known.stack)
            store = Store(runs, suite)
            for entry in of_suite:
                yield Rerun(entry, tuple(_differences(entry, store.get(entry.cell.id))))


def _differences(stored: StoredResult, again: StoredResult) -> Iterator[str]:
    if again.numbers.status != stored.numbers.status:
        yield f"it {again.numbers.status}: {again.numbers.reason}"
        return
    curves = again.curves()
    for name, points in stored.curves().items():
        if points != curves.get(name):
            yield f"{name} {_first_difference(points, curves.get(name, []))}"
    digests = [read_record(entry.path)["files"].get(MASKS) for entry in (stored, again)]
    if digests[0] != digests[1]:
        yield f"masks (density {stored.numbers.density:g} → {again.numbers.density:g})"


def _first_difference(stored: Sequence[float], again: Sequence[float]) -> str:
    """Say where two curves part.

    >>> _first_difference([0.5, 0.75], [0.5, 0.7])
    'from epoch 2 on (0.75 → 0.7)'
    >>> _first_difference([0.5], [0.5, 0.7])
    'has 2 points, not 1'
    """
    for epoch, (before, after) in enumerate(zip(stored, again, strict=False), start=1):
        if before != after:
            return f"from epoch {epoch} on ({before!r} → {after!r})"
    return f"has {len(again)} points, not {len(stored)}"
