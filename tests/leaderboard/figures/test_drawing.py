"""From a folder of results to a figure, and what is said where there is none."""

import sys
from dataclasses import replace

import pytest
import torch

pytest.importorskip("matplotlib", reason="figures need matplotlib")

import pai_bench
from pai_bench.claims.claim_tests import ClaimTest, Scatter
from pai_bench.claims.metric_registry import available
from pai_bench.claims.printed import Printed
from pai_bench.claims.schema import Claim, Source
from pai_bench.claims.statistics import estimate
from pai_bench.claims.verdicts import Verdict
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.leaderboard.figures import claims
from pai_bench.leaderboard.figures.drawing import Request, drawn
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.store import Store


@pytest.fixture
def runs(tmp_path, settings, methods):
    chosen = grid.Selection(("dense", "snip", "random"), (0.1, 0.01), (1, 2))
    for cell in grid.cells(settings, methods, "quick", chosen):
        value = 0.9 + cell.seed / 100 - cell.density / 10
        Store(tmp_path, "quick").put(cell, Result("done", accuracy=Accuracy(value, value, 1)))
    return tmp_path


def test_methods_and_densities_are_chosen_and_keep_their_styles(runs, settings, methods):
    def colours(**chosen):
        (axes,) = drawn(Request("quick", **chosen), settings, methods, [runs]).axes
        return {line.get_label(): line.get_color() for line in axes.get_lines()}

    every = colours()
    assert set(every) == {"dense", "snip", "random", "random (scope=local)", "random (scope=erk)"}
    assert colours(methods=("snip", "random (scope=erk)"), densities=(0.01,)) == {
        name: every[name] for name in ("snip", "random (scope=erk)")
    }


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request("quick", "acuracy"), 'unknown kind of figure "acuracy"; did you mean "accuracy"'),
        (Request("quik"), 'unknown suite "quik"; did you mean "quick"'),
        (Request("quick", columns=3), "1 or 2 columns wide, not 3"),
        (Request("quick", methods=("snpi",)), 'suite quick: unknown method "snpi"; did you mean'),
        (Request("quick", densities=(0.3,)), "suite quick: no result at the density 0.3"),
        (Request("quick", "flops"), "hold no FLOPs of training"),
        (Request("quick", "path"), "no result of a method with a path"),
        (Request("quick", "claims"), "no printed value of a paper is tested"),
        (Request("rigl-quick"), "rigl-quick: no result to draw"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_drawn_is_one_line(runs, settings, methods, request_, says):
    with pytest.raises(BenchError) as error:
        drawn(request_, settings, methods, [runs])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_without_matplotlib_it_says_what_to_install(runs, settings, methods, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BenchError, match=r'^figures need matplotlib: pip install "pai-bench\[plot'):
        drawn(Request("quick"), settings, methods, [runs])


def test_from_python_it_is_the_same_figure(runs, settings, methods):
    figure = pai_bench.plot("quick", runs=runs, methods=["snip"], columns=2)
    again = drawn(Request("quick", columns=2, methods=("snip",)), settings, methods, [runs])
    assert figure.content("svg") == again.content("svg")


def test_a_path_has_each_filter_in_the_colour_of_what_became_of_it(runs, settings, methods):
    chosen = grid.Selection(("dessilbi-filters",), (0.1,), (1,))
    cell = grid.cells(settings, methods, "dessilbi-quick", chosen)[0]
    value = Accuracy(0.9, 0.9, 1)
    result = Result("done", accuracy=value, environment={"searches": ["found"]})
    Store(runs, "dessilbi-quick").put(cell, result)
    request = Request("dessilbi-quick", "path", layer="conv")
    with pytest.raises(BenchError, match="its searches are not in"):
        drawn(request, settings, methods, [runs])

    from pai_bench.reproductions.dessilbi.search import packed

    support = torch.zeros(3, 2, 1, 1)
    support[1] = support[2, 0] = 1
    norms = torch.tensor([[1.0, 1.0, 2.0], [0.5, 2.0, 1.0], [0.0, 4.0, 1.0]])
    state = {
        "dual": {"conv.weight": support},
        "supports": [{"conv.weight": packed(support != 0)}],
        "norms": {"conv.weight": norms},
    }
    (runs / "searches").mkdir()
    torch.save({"state": state, "flops": 1.0, "seconds": 1.0}, runs / "searches" / "found.pt")
    (axes,) = drawn(request, settings, methods, [runs]).axes
    out, kept = (c.get_segments() for c in axes.collections)
    assert [line.tolist() for line in out] == [[[0, 1], [1, 0.5], [2, 0]]]
    assert [line[:, 1].tolist() for line in kept] == [[1, 2, 4], [2, 1, 1]]
    assert axes.get_title().endswith("conv: 2 of 3 selected")
    with pytest.raises(BenchError, match='unknown layer "fc"'):
        drawn(replace(request, layer="fc"), settings, methods, [runs])


def verdict(state, printed, values, suite="quick"):
    metric = available()["accuracy"]
    claim = Claim(
        "p", "t", "absolute", Source(what="Table 1"), "", suite=suite, metric=metric,
        value=Printed(str(printed), printed, 0.05),
    )  # fmt: skip
    ours = estimate(values)
    test = ClaimTest(ours, ours, -1, 1, 0.5, 0.5, Scatter(0.1))
    return Verdict(claim, state, "", len(values), test)


def test_claims_are_points_at_what_was_printed_and_measured():
    judged = [
        verdict("reproduced", 95.0, [94.9, 95.1]),
        verdict("not reproduced", 80.0, [70.0]),
        verdict("reproduced", 50.0, [50.0], suite="mnist"),
        replace(verdict("not run", 10.0, [10.0]), test=None),
    ]
    (axes,) = claims.draw("quick", judged, 1).axes
    points = {c.get_label(): c.lines[0].get_xydata().tolist() for c in axes.containers}
    assert points == {"reproduced": [[95.0, 95.0]], "not reproduced": [[80.0, 70.0]]}
    assert axes.get_xlim() == axes.get_ylim()
