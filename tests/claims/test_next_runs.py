"""What would decide claims, cheapest first, on a claims file of its own."""

import pytest

from pai_bench.claims import parser
from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.next_runs import NextRun, NextRuns, within
from pai_bench.experiment import grid
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.store import Store

FILE = """
paper: some
authors: [Ann One]
year: 2020
sources: {table: {what: Table 1}}
suites: {quick: {deviations: []}}
lines: {SNIP: snip, Random: {random: {scope: local}}, SynFlow: synflow}
tables:
  accuracy: {about: accuracy, source: table, suite: quick, densities: 0.5 0.1,
             rows: {SNIP: 95.0 93.0, SynFlow: . 92.0}}
  words: {about: accuracy, source: table, why: too large, densities: "0.5", rows: {SNIP: 95.0}}
orderings:
  order: {about: above, source: table, suite: quick, densities: "0.1", above: SNIP,
          below: [Random]}
"""
SECONDS = {"snip": 1.0, "random": 5.0, "synflow": 20.0}


@pytest.fixture
def found(tmp_path, settings, methods):
    """Lists what to run for FILE after some results: found({("snip", 0.5): [0.95, ...]})."""
    path = tmp_path / "claims.yaml"
    path.write_text(FILE)

    def find(results):
        cells = grid.cells(settings, methods, "quick", grid.Selection(seeds=tuple(range(1, 9))))
        for cell in cells:
            values = results.get((cell.label, cell.density), ())
            if cell.seed <= len(values) and not cell.sanity_check:
                value = values[cell.seed - 1]
                result = Result("done", accuracy=Accuracy(value, value, 1))
                Store(tmp_path / "runs", "quick").put(cell, result)

        def seconds(cells, of_suite):
            assert "quick" in of_suite.suites
            return sum(SECONDS[cell.method] for cell in cells)

        measured = ResultLookup(settings, methods, [tmp_path / "runs"])
        return NextRuns(settings, methods, measured, seconds).of([parser.load(path)])

    return find


def lines(run):
    return {(cell.label, cell.density, cell.seed) for cell in run.cells["quick"]}


def test_the_cheapest_comes_first_and_no_cell_twice(found):
    runs = found({})
    assert [run.claims for run in runs] == [
        ["some:accuracy/SNIP/0.5"], ["some:accuracy/SNIP/0.1"],
        ["some:order/SNIP/Random/0.1"], ["some:accuracy/SynFlow/0.1"],
    ]  # fmt: skip
    assert [run.seconds for run in runs] == [3.0, 3.0, 15.0, 60.0]
    assert lines(runs[1]) == {("snip", 0.1, seed) for seed in (1, 2, 3)}
    assert lines(runs[2]) == {("random (scope=local)", 0.1, seed) for seed in (1, 2, 3)}
    ids = [cell.id for run in runs for cell in run.cells["quick"]]
    assert len(ids) == len(set(ids))


def test_only_seeds_without_a_result_are_run(found):
    runs = found({("snip", 0.5): [0.95, 0.95], ("snip", 0.1): [0.93] * 3})
    assert lines(runs[0]) == {("snip", 0.5, 3)}
    assert not any("accuracy/SNIP/0.1" in claim for run in runs for claim in run.claims)


def test_an_inconclusive_claim_asks_for_the_seeds_that_would_decide_it(found):
    runs = found({("snip", 0.5): [0.943, 0.948, 0.953]})
    (further,) = [run for run in runs if "some:accuracy/SNIP/0.5" in run.claims]
    seeds = {seed for _, _, seed in lines(further)}
    assert seeds == set(range(4, 4 + len(seeds)))
    assert len(seeds) > 0


def test_what_no_number_of_seeds_decides_is_left_out(found):
    runs = found({("snip", 0.5): [0.936, 0.9405, 0.945]})  # at the edge of its tolerance
    assert not any("some:accuracy/SNIP/0.5" in run.claims for run in runs)


def test_a_budget_takes_what_fits_and_one_run_at_least(found):
    runs = found({})
    taken = within(runs, 21.0)
    assert sorted({cell.method for cell in taken["quick"]}) == ["random", "snip"]
    assert [cell.method for cell in within(runs, 0.1)["quick"]] == ["snip"] * 3
    assert within([], 10.0) == {}


def test_runs_of_several_suites_are_put_together_by_suite():
    runs = [NextRun({"a": [1], "b": [2]}, seconds=1.0), NextRun({"a": [3]}, seconds=1.0)]
    assert within(runs, 5.0) == {"a": [1, 3], "b": [2]}
