"""Claims and their verdicts: in the terminal, and as plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pai_bench.claims.schema import Claim, Claims
from pai_bench.claims.statistics import CONFIDENCE
from pai_bench.claims.verdicts import RULES, Verdict, tally

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
    table.add_column("claim")
    for heading in ("claimed", "ours", "difference", "tolerance", "p", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    for verdict in tested:
        state = Text(verdict.state, style=_STYLES.get(verdict.state, ""))
        table.add_row(Text(verdict.claim.id), *map(Text, numbers(verdict)), state)
    console.print(table)
    console.print(LEGEND, style="dim", highlight=False)
    for kind in dict.fromkeys(verdict.claim.kind for verdict in tested):
        console.print(Text(f"{kind} claims are reproduced where {RULES[kind]}"), style="dim")
    for verdict in tested:
        console.print(Text(f"  {verdict.claim.id}: {verdict.reason}"))
        console.print(Text(f"    again: {verdict.command}"), style="dim")
    for line in dict.fromkeys(line for verdict in tested for line in verdict.deviations):
        console.print(Text(f"  differs from the paper: {line}"))
    console.print()


LEGEND = (
    "accuracies in per cent, FLOPs relative to dense, sizes as printed; difference: ours minus\n"
    "the paper's, or of two methods paired by seed, with its 95 % t interval; p: adjusted for all\n"
    "tested claims (Holm)"
)


def numbers(verdict: Verdict) -> tuple[str, str, str, str, str, str]:
    """What was claimed and found, the interval, the tolerance, p and n, as text."""
    test = verdict.test
    assert test is not None
    found, unit = test.difference, verdict.claim.digits
    interval = (
        f" [{found.low:+.{unit}f}, {found.high:+.{unit}f}]"
        if found.low is not None and found.high is not None
        else ""
    )
    tolerance = f"±{test.high:.{unit}f}" if isfinite(test.high) else "above 0"
    return (
        verdict.claim.claimed,
        "" if verdict.claim.kind == "ordering" else f"{test.ours.mean:.{unit}f}",
        f"{found.mean:+.{unit}f}{interval}",
        tolerance if isfinite(test.low) else f"below +{test.high:.{unit}f}",
        "–" if verdict.adjusted is None else f"{verdict.adjusted:.2g}",
        str(verdict.n),
    )


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


def as_json(claims: Claims, verdicts: Sequence[Verdict], bibtex: str) -> dict[str, Any]:
    """All claims of a paper with their verdicts."""
    return {
        "paper": claims.content.paper,
        "states": tally(verdicts),
        "claims": [_one(verdict) for verdict in verdicts],
        "missing": list(claims.content.missing),
        "bibtex": bibtex,
    }


def _one(verdict: Verdict) -> dict[str, Any]:
    claim, test = verdict.claim, verdict.test
    measured = test and {
        "ours": asdict(test.ours),
        "difference": asdict(test.difference),
        "tolerance": [end if isfinite(end) else None for end in (test.low, test.high)],
        "p": test.p,
        "p_adjusted": verdict.adjusted,
    }
    return {
        "id": claim.id,
        "kind": claim.kind,
        "about": claim.about,
        "source": claim.source.model_dump(),
        "network": claim.network,
        "data": claim.data,
        "suite": claim.suite,
        "metric": claim.metric,
        "epoch": claim.epoch,
        "method": _named(claim.printed_name, claim.method),
        "against": _named(claim.against_name, claim.against),
        "at": claim.at,
        "claimed": claim.claimed,
        "value": claim.value and asdict(claim.value),
        "doubt": claim.doubt,
        "rule": f"{RULES[claim.kind]}, and p adjusted by Holm is below {1 - CONFIDENCE:.2g}",
        "state": verdict.state,
        "reason": verdict.reason,
        "n": verdict.n,
        "measured": measured,
        "deviations": list(verdict.deviations),
        "command": verdict.command,
    }


def _named(printed: str, method: Any) -> dict[str, Any] | None:
    return {"printed": printed, "ours": method} if printed else None


def title(claim: Claim) -> str:
    """A claim in words.

    >>> from pai_bench.claims.parser import available
    >>> title(available()["ntt"].claims[0])
    'NTT at density 0.03: 96.46,96.46 (Test accuracy of LeNet-300-100 at the end of training)'
    """
    where = f" at density {claim.at}" if claim.suite else f" at {claim.at}" if claim.at else ""
    named = f"{claim.printed_name}{where}: {claim.claimed} " if claim.printed_name else ""
    return f"{named}({claim.about})" if named else claim.about
