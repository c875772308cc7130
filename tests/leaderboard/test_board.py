"""Rows against hand-computed values and SciPy's own t interval."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from pai_bench.claims.statistics import estimate
from pai_bench.config.schema import SANITY_CHECKS
from pai_bench.leaderboard.board import board, ranked
from pai_bench.leaderboard.terminal import print_board, remarks
from pai_bench.store.result import Accuracy, Flops, Result
from pai_bench.store.store import Store

VALUES = {  # (method, density, seed) -> last-epoch accuracy
    ("dense", 1.0, 1): 0.98, ("dense", 1.0, 2): 0.97, ("dense", 1.0, 3): 0.99,
    ("snip", 0.1, 1): 0.90, ("snip", 0.1, 2): 0.92, ("snip", 0.1, 3): 0.94,
    ("magnitude", 0.1, 1): 0.80, ("magnitude", 0.1, 2): 0.95, ("magnitude", 0.1, 3): 0.71,
    ("ntk-sap", 0.1, 1): 0.95, ("ntk-sap", 0.1, 3): 0.96,
}  # fmt: skip


@pytest.fixture
def rows(tmp_path, quick):
    cells = quick(methods=("dense", "snip", "magnitude", "ntk-sap"), densities=(0.1,))
    store = Store(tmp_path, "quick")
    for cell in cells:
        value = VALUES.get((cell.method, cell.density, cell.seed))
        if value is not None:
            collapsed = ("fc1.weight",) if value < 0.75 else ()
            accuracy = Accuracy(value, value + 0.01, 1)
            store.put(cell, Result("done", accuracy=accuracy, density=0.1, effective=0.09,
                                   collapsed=collapsed,
                                   constant_scores=collapsed))  # fmt: skip
        elif cell.method == "ntk-sap" and cell.seed == 2:
            store.put(cell, Result("failed", "out of memory"))
    found = board(store, "quick", cells, {"ntk-sap"})
    return {row.label: row for row in found.rows}, found


def test_interval_is_scipys(rows):
    row = rows[0]["snip"]
    low, high = stats.t.interval(0.95, 2, 0.92, stats.sem([0.90, 0.92, 0.94]))
    assert row.accuracy.mean == pytest.approx(0.92)
    assert (row.accuracy.low, row.accuracy.high) == (pytest.approx(low), pytest.approx(high))
    assert row.best_epoch == pytest.approx(0.93)


def test_one_seed_has_no_interval():
    found = estimate([0.5])
    assert (found.mean, found.low, found.high, found.n) == (0.5, None, None, 1)


def test_intervals_cover_the_truth_95_times_in_100():
    generator = np.random.default_rng(0)
    samples = generator.normal(0.9, 0.01, size=(2000, 3))
    inside = [(e := estimate(list(s))).low <= 0.9 <= e.high for s in samples]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_training_flops_are_means_over_the_seeds_that_know_them(tmp_path, quick):
    cells = quick(methods=("snip", "force"), densities=(0.1,))
    store = Store(tmp_path, "quick")
    accuracy = Accuracy(0.9, 0.9, 1)
    for cell in cells:
        cost = Flops(8.0, 4.0, 0.0, 100.0 * cell.seed) if cell.method == "snip" else None
        store.put(cell, Result("done", accuracy=accuracy, flops=cost))
    found = {row.label: row.training_flops for row in board(store, "quick", cells, ()).rows}
    assert found == {"snip": 200.0, "force": None}


def test_difference_to_the_best_baseline_is_paired_by_common_seeds(rows):
    delta = rows[0]["ntk-sap"].delta
    assert delta.against == "snip"
    assert delta.estimate.n == 2
    assert delta.estimate.mean == pytest.approx(((0.95 - 0.90) + (0.96 - 0.94)) / 2)
    reference = stats.ttest_rel([0.95, 0.96], [0.90, 0.94]).confidence_interval(0.95)
    assert delta.estimate.low == pytest.approx(reference.low)
    assert delta.estimate.high == pytest.approx(reference.high)


def test_a_papers_method_is_nobodys_baseline(rows):
    assert rows[0]["snip"].delta.against == "magnitude"
    assert rows[0]["magnitude"].delta.against == "snip"
    assert rows[0]["dense"].delta is None


def test_failed_cells_are_named_with_their_reason_and_collapsed_ones_count(rows):
    by_line, found = rows
    assert [(m.seed, m.status, m.reason) for m in by_line["ntk-sap"].missing] == [
        (2, "failed", "out of memory")
    ]
    assert by_line["magnitude"].collapsed == by_line["magnitude"].by_position == 1
    assert by_line["magnitude"].accuracy.n == 3
    assert found.best_at(0.1) == "ntk-sap"


def test_a_column_counts_seeds_in_which_position_decided(rows):
    console = Console(record=True, width=120, file=io.StringIO())
    print_board(console, rows[1], "title")
    lines = console.export_text().splitlines()
    first = next(line for line in lines if line.lstrip().startswith("magnitude"))
    assert first.rstrip().endswith("1 of 3")
    assert any(line.startswith("by position: ") for line in lines)


def test_a_cell_that_has_not_run_is_missing(tmp_path, quick):
    cells = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    (row,) = board(Store(tmp_path, "quick"), "quick", cells, ()).rows
    assert row.accuracy is None
    assert row.missing[0].status == "not run"


def put(store, cell, value, status="done"):
    store.put(cell, Result(status, accuracy=Accuracy(value, value, 1), density=0.1, effective=0.1))


def test_sanity_checks_stand_beside_their_row_and_are_not_ranked(tmp_path, quick):
    """Differences of 0.10, 0.09 and 0.08, by hand."""
    store = Store(tmp_path, "quick")
    plain = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2, 3))
    checked = [replace(cell, sanity_check="invert") for cell in plain]
    for index, (cell, other) in enumerate(zip(plain, checked, strict=True)):
        put(store, cell, 0.8 + 0.01 * index)
        put(store, other, 0.7 + 0.02 * index)
    found = board(store, "quick", [*plain, *checked], ())
    (row,) = found.rows
    assert found.checks == ["invert"]
    assert row.checks["invert"].mean == pytest.approx(0.09)
    assert row.checks["invert"].n == 3
    half = 4.302652729911275 * 0.01 / 3**0.5
    assert row.checks["invert"].high - row.checks["invert"].mean == pytest.approx(half)
    assert [r.sanity_check for r in found.sanity_checked] == ["invert"]
    console = Console(record=True, width=110, file=io.StringIO())
    print_board(console, found, "title")
    assert "+9.00 ± 2.48" in console.export_text()
    assert found.best_at(0.1) == "snip"


def test_checks_for_which_columns_are_too_few_are_named(tmp_path, quick):
    store, cells = Store(tmp_path, "quick"), []
    for check in ("", *SANITY_CHECKS):
        for cell in quick(methods=("snip",), densities=(0.1,), seeds=(1, 2, 3)):
            cells.append(replace(cell, sanity_check=check))
            put(store, cells[-1], 0.8 + 0.01 * cell.seed)
    console = Console(record=True, width=80, file=io.StringIO())
    print_board(console, board(store, "quick", cells, ()), "title")
    text = " ".join(console.export_text().split())
    assert "…" not in text
    assert "− layerwise" in text
    assert "left out, for 80 columns are too few: − random pixels" in text


def test_what_was_skipped_after_a_collapse_counts(tmp_path, quick):
    store = Store(tmp_path, "quick")
    cells = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2))
    put(store, cells[0], 0.9)
    put(store, cells[1], 0.1, status="skipped")
    (row,) = board(store, "quick", cells, ()).rows
    assert row.accuracy.mean == pytest.approx(0.5)
    assert row.missing == ()
    assert row.checks == {}


@pytest.fixture
def uneven(tmp_path, quick):
    """Rows of three, two and one seed: alone, the lucky seed of the last would win."""
    values = {
        ("snip", 1): 0.90, ("snip", 2): 0.92, ("snip", 3): 0.94,
        ("magnitude", 1): 0.91, ("magnitude", 2): 0.89, ("random-filters", 2): 0.93,
    }  # fmt: skip
    cells = [
        cell
        for cell in quick(methods=("snip", "magnitude", "random-filters"), densities=(0.1,))
        if (cell.method, cell.seed) in values
    ]
    store = Store(tmp_path, "quick")

    def make(*methods):
        chosen = [cell for cell in cells if cell.method in methods]
        for cell in chosen:
            accuracy = Accuracy(values[cell.method, cell.seed], 1.0, 1)
            store.put(cell, Result("done", accuracy=accuracy))
        return board(store, "quick", chosen, set())

    return make


def test_rows_of_other_seeds_are_ranked_over_those_that_all_share(uneven):
    found = uneven("snip", "magnitude")
    assert found.best_at(0.1) == "snip"  # 0.91 over seeds 1 and 2, against 0.90
    assert [row.label for row in ranked(found.rows)] == ["snip", "magnitude"]
    assert found.uneven == [(0.1, [2, 3], [1, 2])]
    (remark,) = remarks(found)
    assert remark == (
        "density 0.1: rows have 2 or 3 seeds; the best are chosen over seed 1, 2, which all have"
    )
    lucky = uneven("magnitude", "random-filters")
    assert lucky.best_at(0.1) == "random-filters"
    assert lucky.uneven == [(0.1, [1, 2], [2])]


def test_rows_of_the_same_seeds_need_no_remark(rows):
    found = rows[1]
    assert [density for density, *_ in found.uneven] == [0.1]  # ntk-sap failed at one seed
    same = replace(found, rows=tuple(row for row in found.rows if row.label != "ntk-sap"))
    assert same.uneven == []
