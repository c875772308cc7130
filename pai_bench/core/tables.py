"""Tables that fit into a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

FOLDED = 24
"""Width that a column of words is folded into for the sake of the others."""
_UNBOUNDED = 10_000


def print_fitting(console: Console, table: Table, least_needed: Sequence[str]) -> None:
    """Print a table; where it is too wide, without some of its columns, and say which.

    Args:
        console: Where it is printed.
        table: The table, from which columns are removed. Those without `no_wrap` can be folded.
        least_needed: Headings of the columns that can be left out, in this order.
    """
    left_out: list[str] = []
    headings = [heading for heading in least_needed if _has(table, heading)]
    while headings and _least_width(console, table) > console.width:
        left_out.append(headings.pop(0))
        table.columns = [column for column in table.columns if column.header != left_out[-1]]
    console.print(table)
    if left_out:
        named = ", ".join(" ".join(heading.split()) for heading in left_out)
        line = f"left out, for {console.width} columns are too few: {named}"
        console.print(line, style="dim", highlight=False)


def _has(table: Table, heading: str) -> bool:
    return any(column.header == heading for column in table.columns)


def _least_width(console: Console, table: Table) -> int:
    """Width that a table needs with its words folded."""
    whole = console.measure(table, options=console.options.update(max_width=_UNBOUNDED)).maximum
    return whole - sum(_spare(column) for column in table.columns if not column.no_wrap)


def _spare(column: Column) -> int:
    """By how much a column of words can be narrower."""
    cells = [
        cell if isinstance(cell, Text) else Text.from_markup(str(cell)) for cell in column.cells
    ]
    widest = max((line.cell_len for cell in cells for line in cell.split("\n")), default=0)
    return max(0, widest - FOLDED)
