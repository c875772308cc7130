"""Claims with their verdicts as plain JSON: for `claims --json`, the page and W&B alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from pai_bench.claims import citation
from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.schema import Claim, Claims, hyper_of
from pai_bench.claims.statistics import CONFIDENCE
from pai_bench.claims.verdicts import RULES, Verdict, tally

OF_BLOCK = ("about", "source", "network", "data", "metric", "unit", "epoch", "doubt", "rule")
"""Keys that all claims of a table, of an ordering or of a statement have in common."""


def as_json(claims: Claims, verdicts: Sequence[Verdict], measured: ResultLookup) -> dict[str, Any]:
    """Tell all claims of a paper, each with its verdict and all that it rests on."""
    content = claims.content
    paper = measured.settings.papers.get(content.paper)
    return {
        "paper": content.paper,
        "title": paper.title if paper else content.paper,
        "venue": paper.venue if paper else str(content.year),
        "url": paper.url if paper else "",
        "states": tally(verdicts),
        "rules": dict(RULES),
        "claims": [_claim(verdict, measured) for verdict in verdicts],
        "missing": list(content.missing),
        "bibtex": citation.of_paper(content, paper),
    }


def packed(paper: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what claims share once: keys of their block, and texts of deviations by number.

    What is null or empty is left out.
    """
    deviations = list(dict.fromkeys(text for c in paper["claims"] for text in c["deviations"]))
    numbers = {text: index for index, text in enumerate(deviations)}
    claims = [
        {
            **{k: v for k, v in claim.items() if k not in OF_BLOCK and v not in (None, "")},
            "deviations": [numbers[text] for text in claim["deviations"]],
        }
        for claim in paper["claims"]
    ]
    blocks = {c["block"]: {key: c[key] for key in OF_BLOCK} for c in paper["claims"]}
    return {**paper, "deviations": deviations, "blocks": blocks, "claims": claims}


def _claim(verdict: Verdict, measured: ResultLookup) -> dict[str, Any]:
    claim = verdict.claim
    return {
        "id": claim.id,
        "block": claim.block,
        "kind": claim.kind,
        "about": claim.about,
        "source": claim.source.model_dump(),
        "network": claim.network,
        "data": claim.data,
        "suite": claim.suite,
        "metric": claim.metric_name,
        "unit": claim.metric.unit if claim.metric else "",
        "epoch": claim.epoch,
        "method": _named(claim.printed_name, claim.method),
        "against": _named(claim.against_name, claim.against),
        "at": claim.at,
        "digits": claim.digits,
        "claimed": claim.claimed,
        "value": claim.value and asdict(claim.value),
        "doubt": claim.doubt,
        "rule": f"{RULES[claim.kind]}, and p adjusted by Holm is below {1 - CONFIDENCE:.2g}",
        "state": verdict.state,
        "reason": verdict.reason,
        "n": verdict.n,
        "seeds": verdict.seeds,
        "needed": verdict.needed,
        "measured": _measured(verdict),
        "deviations": list(verdict.deviations),
        "command": verdict.command,
        "point": _point(claim, measured),
    }


def _named(printed: str, method: Any) -> dict[str, Any] | None:
    """A method as it is printed, and as it is here."""
    if not printed:
        return None
    return {"printed": printed, "ours": method, "name": hyper_of(method)[0] if method else None}


def _measured(verdict: Verdict) -> dict[str, Any] | None:
    test = verdict.test
    if test is None:
        return None
    return {
        "ours": asdict(test.ours),
        "difference": asdict(test.difference),
        "tolerance": [end if isfinite(end) else None for end in (test.low, test.high)],
        "p": test.p,
        "p_adjusted": verdict.adjusted,
    }


def _point(claim: Claim, measured: ResultLookup) -> dict[str, Any] | None:
    """Where a printed accuracy lies in the plot of its suite; None where it lies nowhere."""
    printed, suite, metric = claim.value, claim.suite, claim.metric
    if printed is None or printed.side or claim.method is None or not suite:
        return None
    if metric is None or metric.scale is None or claim.source.by == "replication":
        return None
    share = printed.value / 100
    return {
        "line": measured.label(claim.method, suite),
        "density": claim.density,
        "y": share if metric.scale == "accuracy" else 1 - share,
        "spread": printed.spread and printed.spread / 100,
        "text": f"{printed.text} {metric.name}" + (", best epoch" * (claim.epoch == "best")),
    }
