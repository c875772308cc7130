"""Settings to cells: which are run, which are not, and what they cost."""

from collections import Counter
from pathlib import Path

import pytest

from pai_bench.config import loader
from pai_bench.config.schema import Paper
from pai_bench.core.errors import BenchError
from pai_bench.experiment import cost, grid
from pai_bench.experiment.grid import Selection
from pai_bench.registry import methods as registry

METHODS = registry.available()
SETTINGS = loader.load(Path(__file__).parents[2] / "benchmark.yaml", METHODS)
QUICK = SETTINGS.suites["quick"]


def cells(suite="quick", settings=SETTINGS, known=METHODS, **chosen):
    return grid.cells(settings, known, suite, Selection(**chosen))


def with_overrides(**changes):
    """Return the shipped settings with a changed suite `quick`."""
    suites = {**SETTINGS.suites, "quick": QUICK.model_copy(update=changes)}
    return SETTINGS.model_copy(update={"suites": suites})


BASELINES = {
    "dense", "random", "magnitude", "snip", "iterative-snip", "force", "grasp", "synflow",
    "imp",
}  # fmt: skip


RANDOM = {"random", "random (scope=local)", "random (scope=erk)"}


def test_quick_is_each_sparse_line_by_six_densities_by_three_seeds_and_dense():
    counted = Counter(cell.label for cell in cells())
    sparse = {*BASELINES, *RANDOM, "ntk-sap"} - {"dense"}
    assert counted == {"dense": 3, **dict.fromkeys(sparse, 18)}


def test_all_of_a_suite_is_what_no_selection_gives():
    assert grid.cells(SETTINGS, METHODS, "quick") == cells()


def test_dense_runs_once_per_seed_at_density_1():
    dense = [(cell.seed, cell.density) for cell in cells() if cell.method == "dense"]
    assert dense == [(1, 1.0), (2, 1.0), (3, 1.0)]


def test_only_dense_runs_at_density_1():
    found = cells("mnist")
    assert 1 in SETTINGS.suites["mnist"].densities
    assert {cell.method for cell in found if cell.density == 1} == {"dense"}
    assert len(found) == 5 * (6 * 20 + 1)


def test_seeds_are_outermost_and_densities_fall():
    found = cells()
    assert [cell.seed for cell in found] == sorted(cell.seed for cell in found)
    snip = [cell.density for cell in found if (cell.method, cell.seed) == ("snip", 1)]
    assert snip == sorted(QUICK.densities, reverse=True)


@pytest.mark.parametrize("suite", SETTINGS.suites)
def test_no_two_cells_are_the_same(suite):
    found = cells(suite)
    assert len({cell.id for cell in found}) == len(found)


def test_cells_hold_what_their_suite_names():
    cell = cells("ntk-sap-cifar10")[0]
    data = SETTINGS.data["cifar10"]
    assert (cell.network, cell.data) == ("resnet-20", "cifar10")
    assert cell.recipe == SETTINGS.recipes["ntk-sap-cifar10"]
    assert (cell.digest, cell.mean, cell.std) == (data.digest, data.mean, data.std)


def test_selecting_methods_takes_all_their_lines():
    assert {cell.label for cell in cells(methods=("random",))} == RANDOM


def test_selected_densities_and_seeds_replace_those_of_the_suite():
    found = cells(methods=("snip",), densities=(0.3, 0.07), seeds=(9,))
    assert [(cell.density, cell.seed) for cell in found] == [(0.3, 9), (0.07, 9)]


def test_a_selected_cell_is_the_cell_of_the_whole_suite():
    (one,) = cells(methods=("snip",), densities=(0.05,), seeds=(2,))
    assert one.id in {cell.id for cell in cells()}


def test_dense_stays_at_density_1_whatever_is_selected():
    assert [cell.density for cell in cells(methods=("dense",), densities=(0.1,))] == [1.0] * 3


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"methods": ("snpi",)}, 'unknown method "snpi"; did you mean "snip"?'),
        ({"densities": (0.0,)}, "density 0 is impossible"),
        ({"densities": (1.5,)}, "density 1.5 is impossible"),
        ({"densities": (-1.0,)}, "density -1 is impossible"),
        ({"densities": (float("nan"),)}, "density nan is impossible"),
        ({"methods": ("snip",), "densities": (1.0,)}, "no cell is left"),
        ({"suite": "quik"}, 'unknown suite "quik"; did you mean "quick"?'),
    ],
)
def test_an_impossible_choice_is_one_line(chosen, message):
    with pytest.raises(BenchError) as caught:
        cells(**chosen)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plugin_that_is_asked_for_is_appended_with_its_defaults(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from pai_bench import PruneAtInit\n"
        "from pai_bench.registry.methods import register\n\n\n"
        '@register("mine")\nclass Mine(PruneAtInit):\n    version = 4\n'
    )
    known = registry.available((plugin,))
    assert "mine" not in {cell.method for cell in cells(known=known)}
    found = cells(known=known, methods=("snip", "mine"), seeds=(1,))
    assert [cell.method for cell in found] == ["snip"] * 6 + ["mine"] * 6
    assert (found[-1].method_version, dict(found[-1].hyper)) == (4, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": (1, 1)},
        {"densities": (0.5, 0.5)},
        {"methods": ("snip", "snip")},
        {"methods": ("snip", {"snip": {"rounds": 1}})},
    ],
)
def test_what_is_listed_twice_runs_once(changes):
    ids = [cell.id for cell in cells(settings=with_overrides(**changes))]
    assert len(ids) == len(set(ids))


def test_the_suite_of_a_paper_has_its_methods_and_the_baselines():
    name, chosen = grid.suite_of_paper(SETTINGS, "ntk-sap")
    assert name == "quick"
    assert set(chosen.methods) == BASELINES | {"ntk-sap"}


def test_the_suite_of_a_paper_leaves_out_the_methods_of_other_papers():
    second = Paper(
        title="SNIP",
        venue="ICLR 2019",
        url="https://example.org",
        methods=("snip",),
        suites={"quick": "quick"},
        protocol="quick",
    )
    settings = SETTINGS.model_copy(update={"papers": {**SETTINGS.papers, "snip": second}})
    _, first = grid.suite_of_paper(settings, "ntk-sap")
    assert set(first.methods) == BASELINES - {"snip"} | {"ntk-sap"}
    _, other = grid.suite_of_paper(settings, "snip")
    assert set(other.methods) == BASELINES


def test_a_method_of_two_papers_belongs_to_both():
    twin = SETTINGS.papers["ntk-sap"].model_copy(update={"methods": ("ntk-sap", "snip")})
    settings = SETTINGS.model_copy(update={"papers": {**SETTINGS.papers, "twin": twin}})
    _, chosen = grid.suite_of_paper(settings, "ntk-sap")
    assert "ntk-sap" in chosen.methods
    assert "snip" not in chosen.methods


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("ntk-sab",), 'unknown paper "ntk-sab"; did you mean "ntk-sap"?'),
        (("ntk-sap", "mnits"), 'unknown suite of paper ntk-sap "mnits"; did you mean "mnist"?'),
    ],
)
def test_an_unknown_paper_or_suite_gets_a_suggestion(asked, message):
    with pytest.raises(BenchError) as caught:
        grid.suite_of_paper(SETTINGS, *asked)
    assert str(caught.value) == message


def test_cost_is_positive_for_every_suite():
    for suite in SETTINGS.suites:
        found = cost.estimate_cost(cells(suite), SETTINGS)
        assert found.flops > 0
        assert found.seconds > 0


def test_cost_grows_with_epochs_and_cells_and_shrinks_with_jobs():
    recipe = SETTINGS.recipes["digits-20"]
    longer = recipe.model_copy(update={"epochs": 3 * recipe.epochs})
    settings = SETTINGS.model_copy(update={"recipes": {**SETTINGS.recipes, "digits-20": longer}})
    once, thrice = (
        cost.estimate_cost(cells(), SETTINGS),
        cost.estimate_cost(cells(settings=settings), settings),
    )
    assert thrice.flops == pytest.approx(3 * once.flops)
    assert thrice.seconds == pytest.approx(3 * once.seconds)
    assert cost.estimate_cost(cells() * 2, SETTINGS).seconds == pytest.approx(2 * once.seconds)
    assert cost.estimate_cost(cells(), SETTINGS, jobs=2).seconds == pytest.approx(once.seconds / 2)
    assert cost.estimate_cost(cells(), SETTINGS, speed=lambda _cell: 4.0).seconds == pytest.approx(
        4 * once.seconds
    )


def test_training_flops_are_six_per_multiply_accumulate_image_and_epoch():
    (cell,) = cells(methods=("dense",), seeds=(1,))
    assert cost.training_flops(cell, SETTINGS) == 6 * 50_200 * 1438 * 20


@pytest.mark.parametrize("suite", SETTINGS.suites)
def test_every_suite_has_the_macs_its_cost_is_made_of(suite):
    network, data = SETTINGS.suites[suite].network, SETTINGS.suites[suite].data
    assert data in SETTINGS.networks[network].macs


def test_sanity_checks_are_cells_beside_those_of_the_methods():
    chosen = grid.Selection(("dense", "snip"), (0.1,), (1,), sanity_checks=("invert", "invert"))
    found = grid.cells(SETTINGS, METHODS, "quick", chosen)
    assert [(c.method, c.sanity_check) for c in found] == [
        ("dense", ""),
        ("snip", ""),
        ("snip", "invert"),
    ]
    assert len({cell.id for cell in found}) == 3


def test_a_suite_may_have_sanity_checks_of_its_own():
    found = grid.cells(SETTINGS, METHODS, "sanity", grid.Selection(("snip",), (0.1,), (1,)))
    assert [c.sanity_check for c in found] == ["", *SETTINGS.suites["sanity"].sanity_checks]
