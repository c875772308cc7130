"""Ten thousand stored results: their list, and a leaderboard's page, the first time and again."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from pai_bench.store.index import NAME, clear_cache
from pai_bench.store.store import Store

RESULTS = 10_000
GOAL, GOAL_AGAIN, GOAL_LISTED = 3.0, 0.5, 1.0
"""Seconds that building the page may take the first time, and when one result has changed; and that
listing all results may take."""
TIMES = 3
"""Each is done so often, and the shortest time counts."""
HEADING = PageHeading("bench", "made-up results", "pai-bench bench", "pai-bench bench")


def measure(console: Console, settings: Benchmark) -> None:
    """Print the seconds of the first page, of the next when one result changed, and of a list."""
    methods = registry.available()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        store = stored.fill(runs, settings, methods, RESULTS)
        with _few_objects():
            first = min(_first(store, settings, methods) for _ in range(TIMES))
            again = min(_again(store, settings, methods) for _ in range(TIMES))
        listed, computed = min(_listed(store) for _ in range(TIMES))
        size = (store.folder / "leaderboard.html").stat().st_size
    console.print(
        f"A page of {RESULTS:,} results ({size / 1e6:.1f} MB): {first:.2f} s the first time "
        f"({_against_goal(first, GOAL)}), {again:.2f} s after one result changed "
        f"({_against_goal(again, GOAL_AGAIN)})",
        highlight=False,
    )
    console.print(
        f"{RESULTS:,} results are listed in {listed:.2f} s, {computed:.2f} s of them on the "
        f"processor ({_against_goal(listed, GOAL_LISTED)})",
        highlight=False,
    )


def _against_goal(seconds: float, goal: float) -> str:
    return f"goal: below {goal:g} s, {'met' if seconds < goal else 'not met'}"


@contextmanager
def _few_objects() -> Iterator[None]:
    """Hide the modules of torch from the garbage collector: `pai-bench leaderboard` has none."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _first(store: Store, settings: Benchmark, methods: Mapping[str, MethodInfo]) -> float:
    (store.folder / NAME).unlink(missing_ok=True)
    return _build(store.folder.parent, settings, methods)


def _again(store: Store, settings: Benchmark, methods: Mapping[str, MethodInfo]) -> float:
    entry = store.get(store.ids()[0])
    store.put(entry.cell, entry.result, entry.curves())
    return _build(store.folder.parent, settings, methods)


def _listed(store: Store) -> tuple[float, float]:
    """Seconds in which a process that has read nothing yet lists all results; those it computed."""
    clear_cache()
    started, computed = time.perf_counter(), time.process_time()
    store.entries()
    return time.perf_counter() - started, time.process_time() - computed


def _build(runs: Path, settings: Benchmark, methods: Mapping[str, MethodInfo]) -> float:
    """Seconds of a page, made as by a process that has read nothing yet."""
    clear_cache()
    started = time.perf_counter()
    board, _ = stored_board(settings, methods, [runs], stored.SUITE)
    measured = ResultLookup(settings, methods, [runs])
    built = page(HEADING, [board], settings, methods, measured)
    write_page(built, runs / stored.SUITE)
    return time.perf_counter() - started
