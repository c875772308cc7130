"""Ways of doing one thing, timed in turn: drift of the machine's speed cancels in their ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

REPEATS = 7
Way = Callable[[], float]
"""Does the thing once; returns how long it took, in the unit of the table."""


def take(ways: Mapping[str, Way], repeats: int = REPEATS) -> list[dict[str, float]]:
    """Time all ways in turn, `repeats` times over, after one turn that does not count."""
    for way in ways.values():
        way()
    return [{name: way() for name, way in ways.items()} for _ in range(repeats)]


def ratios(turns: list[dict[str, float]], way: str, of: str) -> list[float]:
    """Duration of one way over that of another, turn by turn."""
    return [turn[way] / turn[of] for turn in turns]


def print_turns(
    console: Console, title: str, unit: str, turns: list[dict[str, float]], reference: str
) -> None:
    """Print medians, and ratios to the way called `reference` with their extremes."""
    table = Table(title=title, title_justify="left")
    for heading in ("way", unit, f"ratio to {reference}", "smallest", "largest"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for name in turns[0]:
        found = ratios(turns, name, reference)
        median = statistics.median(turn[name] for turn in turns)
        figures = statistics.median(found), min(found), max(found)
        table.add_row(name, f"{median:.3f}", *(f"{figure:.3f}" for figure in figures))
    console.print(table)
