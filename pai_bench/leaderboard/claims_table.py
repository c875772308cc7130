"""Claims and their verdicts in the terminal, and as text of tables."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from math import isfinite

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pai_bench.claims.schema import Claim, Claims
from pai_bench.claims.verdicts import RULES, Verdict, tally
from pai_bench.core.tables import print_fitting

_STYLES = {"reproduced": "green", "not reproduced": "red", "inconclusive": "yellow"}


def print_claims(console: Console, claims: Claims, verdicts: Sequence[Verdict]) -> None:
    """Print each claim that was tested, the others by what keeps them, then the counts."""
    tested = [verdict for verdict in verdicts if verdict.test is not None]
    if tested:
        _print_tested(console, claims.content.paper, tested)
    _print_not_run(console, claims.content.paper, [v for v in verdicts if v.test is None])
    counts = " · ".join(f"{count} {state}" for state, count in tally(verdicts).items())
    console.print(Text(f"{claims.content.paper}: {len(verdicts)} claims: {counts}", style="bold"))
    for line in claims.content.missing:
        console.print(Text(f"  not among them: {line}"), style="dim")
    console.print()


def _print_tested(console: Console, paper: str, tested: Sequence[Verdict]) -> None:
    table = Table(title=f"{paper}: tested claims", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("claim", overflow="fold")
    for heading in NUMBERS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for verdict in tested:
        state = Text(verdict.state, style=_STYLES.get(verdict.state, ""))
        table.add_row(Text(verdict.claim.id), *map(Text, numbers(verdict)), state)
    print_fitting(console, table, LEAST_NEEDED)
    for line in legend(tested):
        console.print(line, style="dim", highlight=False)
    for kind in dict.fromkeys(verdict.claim.kind for verdict in tested):
        console.print(Text(f"{kind} claims are reproduced where {RULES[kind]}"), style="dim")
    for verdict in tested:
        console.print(Text(f"  {verdict.claim.id}: {verdict.reason}"))
        console.print(Text(f"    again: {verdict.command}"), style="dim")
    for line in dict.fromkeys(line for verdict in tested for line in verdict.deviations):
        console.print(Text(f"  differs from the paper: {line}"))
    console.print()


def legend(tested: Sequence[Verdict]) -> list[str]:
    """Say what the columns of tested claims hold: units first, of the metrics that are there."""
    metrics = dict.fromkeys(v.claim.metric for v in tested if v.claim.metric is not None)
    starred = any(verdict.seeds for verdict in tested)
    units = ", ".join(f"{each.name} ({each.unit})" if each.unit else each.name for each in metrics)
    return [
        *textwrap.wrap(f"measured: {units}", 95),
        "difference: ours minus the paper's, or of two methods paired by seed, with its 95 % t",
        "interval; p: adjusted for all tested claims (Holm); n: seeds/those that would decide",
        *["*: the number of seeds was not fixed before a look, or that is not recorded"] * starred,
    ]


NUMBERS = ("claimed", "ours", "difference", "tolerance", "p", "n")
"""Headings of the columns of `numbers`."""
LEAST_NEEDED = ("p", "tolerance", "n", "difference")
"""Columns that a narrow terminal goes without, in this order; reasons below the table say more."""


def numbers(verdict: Verdict) -> tuple[str, str, str, str, str, str]:
    """What was claimed and found, the interval, the tolerance, p and n, as text."""
    test = verdict.test
    assert test is not None
    difference, unit = test.difference, verdict.claim.digits
    interval = (
        f" [{difference.low:+.{unit}f}, {difference.high:+.{unit}f}]"
        if difference.low is not None and difference.high is not None
        else ""
    )
    tolerance = f"±{test.high:.{unit}f}" if isfinite(test.high) else "above 0"
    return (
        verdict.claim.claimed,
        "" if verdict.claim.kind == "ordering" else f"{test.ours.mean:.{unit}f}",
        f"{difference.mean:+.{unit}f}{interval}",
        tolerance if isfinite(test.low) else f"below +{test.high:.{unit}f}",
        "–" if verdict.adjusted is None else f"{verdict.adjusted:.2g}",
        _seeds(verdict),
    )


def _seeds(verdict: Verdict) -> str:
    """Number of seeds, of those that would decide; a star where it was settled after a look."""
    number = f"{verdict.n}{'*' * bool(verdict.seeds)}"
    return f"{number}/{verdict.needed}" if verdict.needed else number


def _print_not_run(console: Console, paper: str, verdicts: Sequence[Verdict]) -> None:
    blocks = Counter((verdict.claim.block, verdict.reason) for verdict in verdicts)
    if not blocks:
        return
    table = Table(title=f"{paper}: not run", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("claims")
    table.add_column("", justify="right")
    table.add_column("why")
    for (block, reason), count in blocks.items():
        table.add_row(Text(block), str(count), Text(reason))
    console.print(table)


def title(claim: Claim) -> str:
    """A claim in words.

    >>> from pai_bench.claims.parser import available
    >>> title(available()["ntt"].claims[0])
    'NTT at density 0.03: 96.46,96.46 (Test accuracy of LeNet-300-100 at the end of training)'
    """
    of_density = claim.suite and not claim.column
    where = f" at density {claim.at}" if of_density else f" at {claim.at}" if claim.at else ""
    named = f"{claim.printed_name}{where}: {claim.claimed} " if claim.printed_name else ""
    return f"{named}({claim.about})" if named else claim.about
