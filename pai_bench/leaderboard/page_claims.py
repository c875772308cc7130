"""The papers whose claims a page shows, and their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.schema import Claims
from pai_bench.claims.verdicts import Verdict, judge
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
    of_benchmark = settings.papers.get(paper.content.paper)
    return {*paper.content.suites, *(of_benchmark.suites.values() if of_benchmark else ())}
