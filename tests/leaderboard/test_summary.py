"""One number per line, by hand."""

import io

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.summary import area_under_curve, summarise
from pai_bench.leaderboard.terminal import print_board
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.store import Store

VALUES = {  # (method, density, seed) -> last-epoch accuracy
    ("dense", 1.0, 1): 0.99,
    ("snip", 0.1, 1): 0.9, ("snip", 0.1, 2): 0.8, ("snip", 0.01, 1): 0.5, ("snip", 0.01, 2): 0.4,
    ("magnitude", 0.1, 1): 0.7, ("magnitude", 0.1, 2): 0.8, ("magnitude", 0.01, 1): 0.6,
    ("magnitude", 0.01, 2): 0.1,
    ("synflow", 0.1, 1): 0.6, ("synflow", 0.1, 2): 0.9, ("synflow", 0.01, 1): 0.3,
}  # fmt: skip


@pytest.fixture
def made(tmp_path, quick):
    """Builds a board of the given methods from VALUES."""

    def make(*methods):
        cells = quick(methods=methods, densities=(0.1, 0.01), seeds=(1, 2))
        store = Store(tmp_path, "quick")
        for cell in cells:
            value = VALUES.get((cell.method, cell.density, cell.seed))
            if value is not None:
                store.put(cell, Result("done", accuracy=Accuracy(value, value, 1)))
        return board(store, "quick", cells, ())

    return make


def test_ranks_are_means_over_densities_and_seeds_with_ties_shared(made):
    found = summarise(made("dense", "snip", "magnitude"))
    ranks = {line.label: line.rank for line in found.lines}
    assert ranks == {"snip": (1 + 1.5 + 2 + 1) / 4, "magnitude": (2 + 1.5 + 1 + 2) / 4}
    assert [line.label for line in found.lines] == ["snip", "magnitude"]
    assert (found.densities, found.runs) == ((0.1, 0.01), 4)


def test_area_and_interquartile_mean_by_hand(made):
    snip, magnitude = summarise(made("dense", "snip", "magnitude")).lines
    assert snip.area == pytest.approx((0.85 + 0.45) / 2)
    assert magnitude.area == pytest.approx((0.75 + 0.35) / 2)
    assert snip.middle == pytest.approx((0.5 + 0.8) / 2)
    assert magnitude.middle == pytest.approx((0.6 + 0.7) / 2)


def test_lines_are_compared_where_all_have_results(made):
    found = summarise(made("snip", "magnitude", "synflow"))
    assert found.runs == 3
    ranks = {line.label: line.rank for line in found.lines}
    expected = stats.rankdata([[-0.9, -0.8, -0.5], [-0.7, -0.8, -0.6], [-0.6, -0.9, -0.3]], axis=0)
    assert ranks == pytest.approx(
        dict(zip(("snip", "magnitude", "synflow"), expected.mean(axis=1), strict=True))
    )


def test_a_line_without_results_empties_nothing(made):
    assert summarise(made("snip", "magnitude", "grasp")).runs == 4
    assert summarise(made("snip", "grasp")) is None
    assert summarise(made("dense")) is None


def test_the_area_weighs_densities_by_their_logarithm():
    values = {(1.0, 1): 1.0, (0.1, 1): 0.0, (0.001, 1): 0.0}
    assert area_under_curve(values, list(values)) == pytest.approx(0.5 * 1 / 3)
    curve = {(d, 1): 0.9 + 0.1 * np.log10(d) for d in (0.5, 0.1, 0.02)}
    middle = (np.log10(0.5) + np.log10(0.02)) / 2
    assert area_under_curve(curve, list(curve)) == pytest.approx(0.9 + 0.1 * middle)


def test_the_terminal_shows_them(made):
    console = Console(record=True, width=110, file=io.StringIO())
    print_board(console, made("snip", "magnitude"), "title")
    text = console.export_text()
    assert "over 2 densities, 4 networks each" in text
    (line,) = [s for s in text.splitlines() if s.split()[:2] == ["snip", "1.38"]]
    assert line.split()[2:] == ["65.00", "65.00"]
