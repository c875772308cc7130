"""The leaderboard of all kept evidence: one table a suite, methods by rank, nothing made up."""

import pytest

from pai_bench.experiment import grid
from pai_bench.experiment.grid import Selection
from pai_bench.leaderboard.evidence_board import evidence_leaderboard
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.store import Store

METHODS = ("dense", "random", "snip")
HIGHER = {"dense": 0.98, "random": 0.90, "snip": 0.95}


def put(root, settings, methods, densities=(0.5, 0.1), **more):
    """Keep results of three methods, SNIP's above those of random masks."""
    store = Store(root / "baselines" / "evidence", "quick")
    chosen = Selection(METHODS, (1.0, *densities), (1, 2))
    for cell in grid.cells(settings, methods, "quick", chosen):
        value = HIGHER[cell.method] - 0.1 * (cell.density == 0.1) + 0.001 * cell.seed
        store.put(cell, Result("done", accuracy=Accuracy(value, value, 1), **more))


@pytest.fixture
def lines(tmp_path, settings, methods):
    put(tmp_path, settings, methods)
    return evidence_leaderboard(settings, methods, tmp_path).splitlines()


def cells_of(lines, start):
    line = next(line for line in lines if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_suite_is_a_table_of_methods_by_rank(lines):
    assert "## quick" in lines
    assert cells_of(lines, "method")[4:] == ["1", "0.5", "0.2", "0.1", "0.05", "0.02", "0.01"]
    names = [cells_of(lines, name)[0] for name in ("dense", "snip", "random")]
    places = [next(i for i, line in enumerate(lines) if line.startswith(f"| {n} ")) for n in names]
    assert places == sorted(places)
    assert cells_of(lines, "snip")[1:3] == ["2", "1.0"]
    assert cells_of(lines, "random")[1:3] == ["2", "3.0"]  # shared by three ways to draw masks


def test_the_best_is_bold_and_what_has_not_run_is_a_dash(lines):
    snip, random = cells_of(lines, "snip"), cells_of(lines, "random")
    assert snip[5] == "**95.15 ± 0.64**"
    assert random[5] == "90.15 ± 0.64"
    assert snip[6] == "–"
    assert cells_of(lines, "dense")[4] == "98.15 ± 0.64"
    assert cells_of(lines, "dense")[5] == ""


def test_the_area_is_the_mean_over_log_density(lines):
    assert cells_of(lines, "snip")[3] == "90.15"


def test_layers_that_collapsed_are_marked(tmp_path, settings, methods):
    put(tmp_path, settings, methods, collapsed=("fc1",))
    lines = evidence_leaderboard(settings, methods, tmp_path).splitlines()
    assert cells_of(lines, "random")[5].endswith(" †")


def test_scores_that_say_nothing_of_a_layer_are_marked(tmp_path, settings, methods):
    put(tmp_path, settings, methods, constant_scores=("fc2.weight",))
    lines = evidence_leaderboard(settings, methods, tmp_path).splitlines()
    assert cells_of(lines, "random")[5].endswith(" ‡")


def test_each_suite_says_how_its_table_is_rebuilt(lines):
    assert any(
        "`pai-bench leaderboard --suite quick --runs baselines/evidence`" in x for x in lines
    )
    assert any("18 networks;" in line for line in lines)
