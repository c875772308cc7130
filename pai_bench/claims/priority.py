"""Which cells matter most: those of claims without a verdict, then those that complete seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.schema import Claim, Claims
from pai_bench.claims.verdicts import Verdict, judge
from pai_bench.experiment.cell import Cell

UNDECIDED = ("not run", "inconclusive")


def by_priority(
    cells: Sequence[Cell], suite: str, papers: Iterable[Claims], measured: ResultLookup
) -> list[Cell]:
    """Order cells by what running them may decide.

    First come the cells of claims that have no verdict, the dense reference among them, then all
    others; each in their order, in which seeds are outermost.

    Args:
        cells: The cells to order.
        suite: The suite that they are of.
        papers: Claims of the papers.
        measured: Results so far.
    """
    undecided = list(_undecided(suite, papers, measured))
    return sorted(cells, key=lambda cell: not _is_wanted(cell, undecided))


def _undecided(
    suite: str, papers: Iterable[Claims], measured: ResultLookup
) -> Iterable[tuple[str, Claim]]:
    """Each undecided claim, with the label of each line that it needs from a suite."""
    for claims in papers:
        for verdict in judge(claims, measured):
            yield from _lines(verdict, suite, measured)


def _lines(verdict: Verdict, suite: str, measured: ResultLookup) -> Iterable[tuple[str, Claim]]:
    claim = verdict.claim
    if verdict.state not in UNDECIDED or claim.untestable or claim.of_untrained:
        return
    of_claim = ((claim.method, claim.suite), (claim.against, claim.against_suite))
    for method, of_method in of_claim:
        if method is not None and of_method == suite:
            label = measured.label(method, suite)
            if label is not None:
                yield label, claim


def _is_wanted(cell: Cell, undecided: Iterable[tuple[str, Claim]]) -> bool:
    return not cell.sanity_check and any(
        cell.label == label and claim.is_at(cell.density) for label, claim in undecided
    )
