"""Marks that tell the lines of a figure apart, for colour-blind readers and in grey print too."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of Okabe and Ito (2008), without the yellow that a thin line on white paper hides."""
MARKERS = "os^DvPX<>p*hd"
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
Styles = dict[str, dict[str, Any]]
"""Label of a line -> options of matplotlib's `plot`."""


def readable(label: str, letters: int) -> str:
    """Round the long numbers of a line's name, and break it into lines of so many letters.

    >>> print(readable("rigl (end=0.4166666666666667, scope=erk)", 20))
    rigl (end=0.417,
    scope=erk)
    """
    rounded = re.sub(r"\d+\.\d{4,}", lambda number: f"{float(number[0]):.3g}", label)
    return "\n".join(textwrap.wrap(rounded, letters))


def line_styles(labels: Iterable[str]) -> Styles:
    """Give each line a colour, a marker and dashes; no two of 364 share all three.

    The lengths of the three have no divisor in common, so that neighbours differ in each.

    >>> line_styles(["snip", "grasp"])["grasp"]["marker"]
    's'
    """
    return {
        label: {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": DASHES[index % len(DASHES)],
        }
        for index, label in enumerate(dict.fromkeys(labels))
    }
