"""A leaderboard's page from ten thousand stored results: the first time, and again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from pai_bench.bench import stored
from pai_bench.claims.lookup import ResultLookup
from pai_bench.config.schema import Benchmark
from pai_bench.leaderboard.page import PageHeading, page
from pai_bench.leaderboard.publish import write_page
from pai_bench.leaderboard.stored import stored_board
from pai_bench.registry import methods as registry
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store.index import clear_cache

RESULTS = 10_000
GOAL = 5.0
"""Seconds that building the page may take the first time."""
HEADING = PageHeading("bench", "made-up results", "pai-bench bench", "pai-bench bench")


def measure(console: Console, settings: Benchmark) -> None:
    """Print the seconds of the first page, and of the next one where one result has changed."""
    methods = registry.available()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        store = stored.fill(runs, settings, methods, RESULTS)
        first, size = _build(runs, settings, methods)
        entry = store.get(store.ids()[0])
        store.put(entry.cell, entry.result, entry.curves())
        again, _ = _build(runs, settings, methods)
    met = "met" if first < GOAL else "not met"
    console.print(
        f"A page of {RESULTS:,} results ({size / 1e6:.1f} MB): {first:.2f} s the first time "
        f"(goal: below {GOAL:g} s, {met}), {again:.2f} s after one result changed",
        highlight=False,
    )


def _build(runs: Path, settings: Benchmark, methods: Mapping[str, MethodInfo]) -> tuple[float, int]:
    """Seconds and bytes of a page, made as by a process that has read nothing yet."""
    clear_cache()
    started = time.perf_counter()
    board, _ = stored_board(settings, methods, runs, stored.SUITE)
    measured = ResultLookup(settings, methods, [runs])
    made = page(HEADING, [board], settings, methods, measured)
    path = write_page(made, runs / stored.SUITE)
    return time.perf_counter() - started, path.stat().st_size
