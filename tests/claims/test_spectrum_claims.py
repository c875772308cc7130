"""Claims on spectra are tested by spectra alone, whatever else is known of the same cells."""

import pytest

from pai_bench.claims import parser, verdicts
from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.next_runs import NextRuns
from pai_bench.claims.priority import by_priority
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.store import spectra
from pai_bench.store.result import Accuracy, Result, TangentSpectrum
from pai_bench.store.store import Store

FILE = """
paper: some
authors: [Ann One]
year: 2020
sources: {figure: {what: Figure 2}}
suites:
  quick: {seeds_seen: 0, deviations: [digits for photographs]}
lines: {SNIP: snip, Random: {random: {scope: local}}, Magnitude: magnitude}
orderings:
  closest: {about: closest, source: figure, suite: quick, metric: spectrum-distance,
            densities: "0.1", above: [Random, Magnitude], below: [SNIP]}
"""


@pytest.fixture
def judged(tmp_path, settings, methods):
    """Judges FILE; SNIP has half of the dense network's eigenvalues, the others less."""
    path = tmp_path / "claims.yaml"
    path.write_text(FILE)
    chosen = grid.Selection(("snip", "random", "magnitude"), (0.1,), (1, 2, 3))
    cells = grid.cells(settings, methods, "quick", chosen)
    shares = {"snip": 0.5, "random (scope=local)": 0.1, "magnitude": 0.6}

    def measure(folder="runs"):
        for cell in cells:
            if share := shares.get(cell.label):
                own = (share * 10 * (1 + 0.01 * cell.seed), share)
                result = Result("spectrum", spectrum=TangentSpectrum(own, (10.0, 1.0), 1))
                spectra.write(tmp_path / folder, "quick", cell, result)

    def judge(*folders):
        measured = ResultLookup(settings, methods, [tmp_path / f for f in folders or ["runs"]])
        found = verdicts.judge(parser.load(path), measured)
        return {verdict.claim.printed_name: verdict for verdict in found}

    judge.measure, judge.cells, judge.path = measure, cells, path
    (tmp_path / "runs").mkdir()
    return judge


def test_each_of_several_methods_is_above_each_other_or_not(judged):
    judged.measure()
    found = judged()
    assert {name: verdict.state for name, verdict in found.items()} == {
        "Random": "reproduced", "Magnitude": "not reproduced",
    }  # fmt: skip
    assert found["Random"].claim.id == "closest/Random/SNIP/0.1"
    assert (
        found["Random"].command == "pai-bench spectrum quick --methods random,snip --densities 0.1"
    )
    assert found["Random"].seeds == ""


def test_a_training_of_the_same_cells_changes_nothing(judged, tmp_path):
    for cell in judged.cells:
        result = Result("done", accuracy=Accuracy(0.9, 0.9, 1))
        Store(tmp_path / "runs", "quick").put(cell, result)
    alone = judged()["Random"]
    assert (alone.state, alone.reason) == ("not run", "its cells have not run")
    assert alone.command.startswith("pai-bench spectrum quick")
    judged.measure("other")
    assert judged("runs", "other")["Random"].state == "reproduced"
    assert judged("runs", "other", "other")["Random"].n == 3


def test_nothing_is_trained_for_them(judged, tmp_path, settings, methods):
    measured = ResultLookup(settings, methods, [tmp_path / "runs"])
    papers = [parser.load(judged.path)]
    found = NextRuns(settings, methods, measured, lambda cells, _: float(len(cells)))
    assert found.of(papers) == []
    assert by_priority(judged.cells, "quick", papers, measured) == judged.cells


def test_an_unknown_metric_of_an_ordering_is_one_line(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(FILE.replace("spectrum-distance", "spectrum-distanse"))
    with pytest.raises(BenchError, match=r'metric "spectrum-distanse".*spectrum-distance'):
        parser.load(path)
