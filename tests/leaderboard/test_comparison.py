"""Two methods side by side, by hand."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from scipy import stats

from pai_bench.core.errors import BenchError
from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.comparison import compared, print_compared
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.store import Store

SNIP = {0.1: [0.90, 0.92, 0.94], 0.02: [0.5, 0.6, 0.7]}
MAGNITUDE = {0.1: [0.89, 0.93, 0.91], 0.02: [0.3, 0.2, 0.4]}


@pytest.fixture
def made(tmp_path, quick):
    def make(**methods):
        cells = quick(methods=("snip", "magnitude", "random", "grasp"), densities=(0.1, 0.02))
        store = Store(tmp_path, "quick")
        for cell in cells:
            values = methods.get(cell.method, {}).get(cell.density, [])
            if cell.seed <= len(values):
                value = values[cell.seed - 1]
                store.put(cell, Result("done", accuracy=Accuracy(value, value, 1)))
        return board(store, "quick", cells, ())

    return make


def test_each_density_is_a_paired_test(made):
    found = compared(made(snip=SNIP, magnitude=MAGNITUDE), "snip", "magnitude")
    assert list(found.densities) == [0.1, 0.02]
    at = found.densities[0.1]
    reference = stats.ttest_rel(SNIP[0.1], MAGNITUDE[0.1]).confidence_interval(0.95)
    assert (at.difference.low, at.difference.high) == pytest.approx(tuple(reference))
    assert at.improvement == pytest.approx(6 / 9)


def test_over_all_densities_seeds_stay_the_unit(made):
    found = compared(made(snip=SNIP, magnitude=MAGNITUDE), "snip", "magnitude").overall
    means = [[(a + b) / 2 for a, b in zip(v[0.1], v[0.02], strict=True)] for v in (SNIP, MAGNITUDE)]
    reference = stats.ttest_rel(*means).confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(reference))
    assert found.difference.n == 3
    assert found.improvement == pytest.approx((6 / 9 + 1) / 2)


def test_only_common_seeds_and_densities_count(made):
    partial = {0.1: [0.89, 0.93], 0.02: []}
    found = compared(made(snip=SNIP, magnitude=partial), "snip", "magnitude")
    assert list(found.densities) == [0.1]
    assert found.densities[0.1].seeds == (1, 2)
    assert found.overall is None


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        ("snpi", "magnitude", 'unknown method "snpi"; did you mean "snip"?'),
        ("snip", "grasp", "snip and grasp have no seed in common at any density"),
        ("snip", "snip", "snip cannot be compared with itself"),
        ("random", "snip", "random and snip have no seed in common"),
    ],
)
def test_what_cannot_be_compared_is_one_line(made, ours, theirs, says):
    with pytest.raises(BenchError) as error:
        compared(made(snip=SNIP, magnitude=MAGNITUDE), ours, theirs)
    assert says in str(error.value)


def test_a_method_of_several_lines_is_named_in_full(made):
    made_board = made(snip=SNIP, random=SNIP)
    assert compared(made_board, "random (scope=erk)", "snip").overall.difference.mean == 0
    scoped = [row for row in made_board.rows if row.label != "random"]
    with pytest.raises(BenchError, match="random is several lines; name one: random"):
        compared(type(made_board)("quick", tuple(scoped)), "random", "snip")


def test_the_terminal_shows_both_intervals(made):
    console = Console(record=True, width=110, file=io.StringIO())
    print_compared(console, compared(made(snip=SNIP, magnitude=MAGNITUDE), "snip", "magnitude"))
    (line,) = [s for s in console.export_text().splitlines() if s.split()[:1] == ["all"]]
    assert line.split()[1:4] == ["76.00", "60.50", "+15.50"]
    assert line.split()[-1] == "3"


def test_a_narrow_terminal_shows_accuracies_and_says_what_it_does_not(made):
    console = Console(record=True, width=60, file=io.StringIO())
    lines = replace(compared(made(snip=SNIP, magnitude=MAGNITUDE), "snip", "magnitude"),
                    ours="random (scope=local)", theirs="random (scope=erk)")  # fmt: skip
    print_compared(console, lines)
    text = console.export_text()
    (line,) = [s for s in text.splitlines() if s.split()[:1] == ["all"]]
    assert line.split()[1:4] == ["76.00", "60.50", "+15.50"]
    assert line.split()[-1] == "3"
    assert "60 columns are too few: bootstrap" in text
    assert "…" not in text


def test_long_names_of_lines_cut_no_number(made):
    found = compared(made(snip=SNIP, magnitude=MAGNITUDE), "snip", "magnitude")
    long = replace(found, ours="ntt (kernel=0.0, steps=18720, transfer=mask+fresh, update_every=0)")
    console = Console(record=True, width=80, file=io.StringIO())
    print_compared(console, long)
    text = console.export_text()
    assert "…" not in text
    assert long.ours in " ".join(text.split())
    (line,) = [s for s in text.splitlines() if s.split()[:1] == ["all"]]
    assert line.split()[1:4] == ["76.00", "60.50", "+15.50"]
