"""Claims on a page: what was printed, what was measured, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from pai_bench.claims import citation
from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.schema import Claim, Claims, hyper_of
from pai_bench.claims.verdicts import RULES, Verdict, judge, tally
from pai_bench.config.schema import Benchmark


@dataclass(frozen=True)
class Judged:
    """The claims of one paper and what became of them."""

    claims: Claims
    verdicts: Sequence[Verdict]


def judged(papers: Sequence[Claims], suites: Sequence[str], measured: ResultLookup) -> list[Judged]:
    """Judge the papers that one of `suites` is of, or tests a claim of."""
    concerned = [paper for paper in papers if _suites(paper, measured.settings) & set(suites)]
    return [Judged(paper, judge(paper, measured)) for paper in concerned]


def _suites(paper: Claims, settings: Benchmark) -> set[str]:
    known = settings.papers.get(paper.content.paper)
    return {*paper.content.suites, *(known.suites.values() if known else ())}


def claims_data(found: Judged, settings: Benchmark, measured: ResultLookup) -> dict[str, Any]:
    """All claims of a paper, with what those of one table share kept once."""
    content = found.claims.content
    paper = settings.papers.get(content.paper)
    deviations = list(dict.fromkeys(d for v in found.verdicts for d in v.deviations))
    numbers = {text: index for index, text in enumerate(deviations)}
    return {
        "paper": content.paper,
        "title": paper.title if paper else content.paper,
        "venue": paper.venue if paper else str(content.year),
        "url": paper.url if paper else "",
        "bibtex": citation.of_paper(content, paper),
        "states": tally(found.verdicts),
        "rules": RULES,
        "missing": list(content.missing),
        "deviations": deviations,
        "blocks": {v.claim.block: _block(v.claim) for v in found.verdicts},
        "claims": [_claim(verdict, numbers, measured) for verdict in found.verdicts],
    }


def _block(claim: Claim) -> dict[str, Any]:
    source = claim.source
    return {
        "about": claim.about,
        "source": source.what,
        "by": source.by,
        "reading": source.reading,
        "network": claim.network,
        "data": claim.data,
        "quantity": claim.metric + (" of the best epoch" if claim.epoch == "best" else ""),
        "doubt": claim.doubt,
    }


def _claim(verdict: Verdict, numbers: dict[str, int], measured: ResultLookup) -> dict[str, Any]:
    claim, test = verdict.claim, verdict.test
    tested = test and {
        "ours": asdict(test.ours),
        "difference": asdict(test.difference),
        "tolerance": [end if isfinite(end) else None for end in (test.low, test.high)],
        "p_adjusted": verdict.adjusted,
    }
    known: dict[str, Any] = {
        "id": claim.id,
        "block": claim.block,
        "kind": claim.kind,
        "digits": claim.digits,
        "name": claim.printed_name or "statement",
        "at": claim.at,
        "density": claim.suite is not None,
        "claimed": claim.claimed,
        "suite": claim.suite or "",
        "method": hyper_of(claim.method)[0] if claim.method else "",
        "state": verdict.state,
        "reason": verdict.reason,
        "n": verdict.n,
        "measured": tested,
        "deviations": [numbers[text] for text in verdict.deviations],
        "command": verdict.command,
        "point": _point(claim, measured),
    }
    return {name: value for name, value in known.items() if value is not None}


def _point(claim: Claim, measured: ResultLookup) -> dict[str, Any] | None:
    """Where a printed accuracy lies in the plot of its suite; None where it lies nowhere."""
    printed, suite = claim.value, claim.suite
    if printed is None or printed.bound or claim.method is None or not suite:
        return None
    if claim.metric not in ("accuracy", "error") or claim.source.by == "replication":
        return None
    share = printed.value / 100
    return {
        "line": measured.label(claim.method, suite),
        "density": claim.density,
        "y": share if claim.metric == "accuracy" else 1 - share,
        "spread": printed.spread and printed.spread / 100,
        "text": f"{printed.text} {claim.metric}" + (", best epoch" * (claim.epoch == "best")),
    }
