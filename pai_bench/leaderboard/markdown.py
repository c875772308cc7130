"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], texts: Container[str] = ("method",)
) -> str:
    r"""Lay out a table.

    Args:
        headings: One for each column.
        rows: Cells that are Markdown already (see `escaped`).
        texts: Headings of columns that stand left; the others hold numbers and stand right.

    Returns:
        Its lines, each with a line break.

    >>> print(table(["method", "n"], [["snip", "3"]]), end="")
    | method | n |
    |---|---:|
    | snip | 3 |
    """
    sides = ["---" if heading in texts else "---:" for heading in headings]
    first = f"| {' | '.join(headings)} |\n|{'|'.join(sides)}|\n"
    return first + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def escaped(text: str) -> str:
    r"""Keep a table's bars and emphasis out of a cell.

    >>> print(escaped("a|b (start_from=x*y)"))
    a\|b (start\_from=x\*y)
    """
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", " ".join(text.split()))
