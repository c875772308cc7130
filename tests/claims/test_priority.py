"""Cells of undecided claims run first."""

from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.parser import available
from pai_bench.claims.priority import by_priority
from pai_bench.experiment import grid


def test_cells_of_claims_without_a_verdict_come_first(settings, methods):
    suite = "rigl-cifar10"
    cells = grid.cells(settings, methods, suite)
    papers = available().values()
    nothing = ResultLookup(settings, methods, [])
    ordered = by_priority(cells, suite, papers, nothing)
    assert sorted(cell.id for cell in ordered) == sorted(cell.id for cell in cells)
    claims = [c for paper in papers for c in paper.claims
              if not c.untestable and suite in (c.suite, c.against_suite)]  # fmt: skip
    wanted = {
        cell.id
        for cell in cells
        for claim in claims
        for method, of in ((claim.method, claim.suite), (claim.against, claim.against_suite))
        if method is not None and of == suite and claim.is_at(cell.density)
        and nothing.label(method, suite) == cell.label
    }  # fmt: skip
    assert 0 < len(wanted) < len(cells)
    assert {cell.id for cell in ordered[: len(wanted)]} == wanted


def test_decided_claims_leave_the_order_as_it_is(settings, methods):
    cells = grid.cells(settings, methods, "quick")
    lookup = ResultLookup(settings, methods, [])
    assert by_priority(cells, "quick", [], lookup) == cells
