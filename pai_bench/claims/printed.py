"""Printed values, as claims.yaml has them: the text that was printed, and what it says.

91.36±0.41     a mean and its standard deviation over the table's `n` runs
93.78,93.15    several runs
~87.4          read off a figure where curves overlap (the source's `rough` precision)
<75 >90        below or above that, where no more is claimed
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

Side = Literal["", "<", ">"]
_SIDES: Mapping[str, Side] = {"<": "<", ">": ">"}
_VALUE = re.compile(r"([~<>]?)(\d*\.?\d+)(?:±(\d*\.?\d+))?")


@dataclass(frozen=True)
class Printed:
    """A value as it was printed."""

    text: str
    value: float
    precision: float
    spread: float | None = None
    """Standard deviation over runs."""
    n: int | None = None
    side: Side = ""
    """Where only "below `value`" or "above" it is claimed: which."""

    @property
    def of_runs(self) -> list[Printed]:
        """The value of each run, where several are printed."""
        texts = self.text.split(",")
        return [Printed(text, float(text), self.precision) for text in texts]


def read(text: str, precision: float | None, rough: float | None, n: int | None) -> Printed:
    """Read one printed value.

    Args:
        text: As it stands in the file.
        precision: Half-width of what a value of its source may be; half a unit of its last digit
            where that is None.
        rough: The same for values written with ~.
        n: Runs behind it, where the text does not say it.

    Returns:
        The value.

    Raises:
        ValueError: The text is none.

    >>> read("93.78,93.15", None, None, None).value
    93.465
    >>> read(">90", None, None, 2)
    Printed(text='>90', value=90.0, precision=0.5, spread=None, n=2, side='>')
    """
    parts = [_VALUE.fullmatch(part) for part in text.split(",")]
    matches = [part for part in parts if part is not None]
    if len(matches) < len(parts):
        raise ValueError(f'not a value as 91.36±0.41, 1.2,1.3, ~87.4, <75, >90 or .: "{text}"')
    mark, first, spread = matches[0].groups()
    half = precision or 0.5 * 10.0 ** -len(first.partition(".")[2])
    values = [float(part[2]) for part in matches]
    return Printed(
        text=text,
        value=fmean(values),
        precision=(rough or half) if mark == "~" else half,
        spread=float(spread) if spread else stdev(values) if len(values) > 1 else None,
        n=len(values) if len(values) > 1 else n,
        side=_SIDES.get(mark, ""),
    )
