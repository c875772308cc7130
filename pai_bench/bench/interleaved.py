"""Interleaved timing of alternatives, so that drift of the machine's speed cancels in ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

REPEATS = 7
Way = Callable[[], float]
"""Runs one alternative once; returns how long it took, in the unit of the table."""


def take(ways: Mapping[str, Way], repeats: int = REPEATS) -> list[dict[str, float]]:
    """Time all alternatives in turn, `repeats` times, after one warm-up turn."""
    for way in ways.values():
        way()
    return [{name: way() for name, way in ways.items()} for _ in range(repeats)]


def ratios(turns: list[dict[str, float]], way: str, of: str) -> list[float]:
    """Duration of one alternative over that of another, in each turn."""
    return [turn[way] / turn[of] for turn in turns]


def print_turns(
    console: Console, title: str, unit: str, turns: list[dict[str, float]], reference: str
) -> None:
    """Print medians, and ratios to the alternative called `reference` with their extremes."""
    table = Table(title=title, title_justify="left")
    for heading in ("way", unit, f"ratio to {reference}", "smallest", "largest"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for name in turns[0]:
        relative = ratios(turns, name, reference)
        median = statistics.median(turn[name] for turn in turns)
        figures = statistics.median(relative), min(relative), max(relative)
        table.add_row(name, f"{median:.3f}", *(f"{figure:.3f}" for figure in figures))
    console.print(table)
