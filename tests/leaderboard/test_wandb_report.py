"""What a report says: ranks, differences, curves by run, verdicts with reasons, citations."""

from dataclasses import replace

import pytest

from pai_bench.claims import parser
from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.verdicts import judge
from pai_bench.experiment import grid
from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.page import PageHeading as Top
from pai_bench.leaderboard.page import page
from pai_bench.leaderboard.page_claims import Judged
from pai_bench.leaderboard.wandb.report import (
    Curves,
    ReportHeading,
    ReportTable,
    Text,
    board_id,
    report,
    run_id,
    table,
    written,
)
from pai_bench.leaderboard.wandb.runs import runs
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.store import Store

FILE = """
paper: some
authors: [Ann One, Bob Two]
year: 2020
sources: {table: {what: Table 1}}
suites: {quick: {deviations: [digits for photographs]}}
lines: {SNIP: snip, GraSP: grasp}
tables:
  one: {about: Accuracy on digits, source: table, suite: quick, densities: 0.1 0.02,
        rows: {SNIP: 95.0 80.0, GraSP: . 93.0}}
missing: [the appendix]
"""
MEANS = {("dense", 1.0): 0.98, ("snip", 0.1): 0.95, ("random", 0.1): 0.96, ("snip", 0.02): 0.9}


@pytest.fixture(scope="module")
def shown(tmp_path_factory, settings, methods):
    """Board and page of a store with three seeds of each mean, and one failed cell."""
    folder = tmp_path_factory.mktemp("some")
    store = Store(folder / "runs", "quick")
    chosen = grid.Selection(("dense", "random", "snip", "magnitude"), (0.1, 0.02))
    cells = grid.cells(settings, methods, "quick", chosen)
    for cell in cells:
        value = MEANS.get((cell.label, cell.density), 0) + 0.0001 * cell.seed
        if value > 0.5:
            accuracy = Accuracy(value, value, 1)
            result = Result("done", accuracy=accuracy, density=cell.density, effective=0.05)
            store.put(cell, result, {"test_accuracy": [value]})
        elif cell.method == "magnitude" and (cell.seed, cell.density) == (1, 0.1):
            store.put(cell, Result("failed", "no file '/home/somebody/x.txt'"))
    (folder / "parser.yaml").write_text(FILE)
    known = parser.load(folder / "parser.yaml")
    measured = ResultLookup(settings, methods, [folder / "runs"])
    found = board(store, "quick", cells, settings.methods_of_papers())
    top = Top("quick", "", "pai-bench run quick", "pai-bench leaderboard --suite quick")
    made = page(top, [found], settings, methods, measured)
    return found, replace(made, judged=[Judged(known, judge(known, measured))])


@pytest.fixture(scope="module")
def made(shown, settings):
    return report(*shown, settings)


def after(made, title):
    """Blocks below a heading, up to the next one."""
    texts = [block.text if isinstance(block, ReportHeading) else None for block in made.blocks]
    start = texts.index(title) + 1
    end = next((i for i in range(start, len(texts)) if texts[i] is not None), len(texts))
    return made.blocks[start:end]


def rows_of(block):
    return [dict(zip(block.headings, row, strict=True)) for row in block.rows]


def test_densities_are_ranked_with_intervals_and_differences(made, shown):
    assert [b.text for b in made.blocks if isinstance(b, ReportHeading) and b.level == 2][:3] == [
        "Density 1, sparsity 0 %", "Density 0.1, sparsity 90 %", "Density 0.02, sparsity 98 %",
    ]  # fmt: skip
    (ranked,) = after(made, "Density 0.1, sparsity 90 %")
    rows = rows_of(ranked)
    assert [row["method"] for row in rows[:2]] == ["random", "snip"]
    assert rows[0]["accuracy %"] == "96.02 ± 0.02"
    assert rows[1]["vs best baseline"] == "-1.00 ± 0.00"
    assert rows[1]["best baseline"] == "random"
    last = rows[-1]
    assert (last["method"], last["accuracy %"], ranked.runs[-1]) == ("magnitude", "–", "")


def test_it_begins_with_the_best_of_each_density_and_the_verdicts(made):
    assert made.short.splitlines() == [
        "- density 1: dense, 98.02 ± 0.02 %",
        "- density 0.1: random, 96.02 ± 0.02 %",
        "- density 0.02: snip, 90.02 ± 0.02 %",
        "- claims of some: 1 reproduced, 1 not reproduced, 0 inconclusive, 1 not run",
    ]
    assert Text(made.short) in made.blocks


def test_methods_are_linked_to_their_runs_and_curves_name_them(made, shown, settings):
    found = {run.id: run for run in runs(shown[0], made, settings)}
    (ranked,) = after(made, "Density 0.1, sparsity 90 %")
    assert [found[run].name for run in ranked.runs if run] == [
        "random · density 0.1", "snip · density 0.1",
    ]  # fmt: skip
    lines = table(ranked, "https://x/e/p").splitlines()
    assert lines[2].startswith(f"| [random](https://x/e/p/runs/{ranked.runs[0]}) | 0.1 |")
    assert lines[-1].startswith("| magnitude | 0.1 |")
    over, *trainings = after(made, "Curves")
    assert over.runs == (board_id("quick"),) == ("leaderboard-quick",)
    (plot,) = over.plots
    assert (plot.x, plot.logarithmic) == ("density", True)
    recorded = {name for point in found["leaderboard-quick"].history for name in point}
    assert {*plot.y, "density"} == recorded
    assert [block.runs for block in trainings] == [
        tuple(run_id(row.cells[0]) for row in shown[0].rows if (row.label, row.density) in keys)
        for keys in ([("dense", 1)], [("random", 0.1), ("snip", 0.1)], [("snip", 0.02)])
    ]


def test_each_claim_has_what_was_printed_and_measured_a_verdict_and_why(made):
    tested, rules, left, notes = after(made, "some: 3 claims")
    rows = {row["claim"]: row for row in rows_of(tested)}
    assert set(rows) == {"one/SNIP/0.1", "one/SNIP/0.02"}
    good, bad = rows["one/SNIP/0.1"], rows["one/SNIP/0.02"]
    assert (good["printed"], good["measured"], good["verdict"]) == ("95.0", "95.02", "reproduced")
    assert (bad["printed"], bad["measured"], bad["verdict"]) == ("80.0", "90.02", "not reproduced")
    assert "outside the tolerance" in bad["why"]
    assert bad["difference"].startswith("+10.02 [")
    assert "95 % t interval" in rules.markdown
    assert [row["claims"] for row in rows_of(left)] == ["1"]
    assert "the appendix" in notes.markdown
    assert "digits for photographs" in notes.markdown


def test_papers_and_benchmark_can_be_cited(made):
    ours, theirs = after(made, "How to cite")
    assert "@software{pai-bench," in ours.markdown
    assert "Ann One and Bob Two" in theirs.markdown


def test_what_is_missing_is_said_without_folders_of_this_machine(made):
    text = written(made)
    assert "failed: no file 'x.txt': magnitude at 0.1, seed 1" in text
    assert "not run yet" in text
    assert "somebody" not in text


def test_all_of_it_is_in_the_file(made):
    text = written(made)
    assert text.startswith("# PaI-Bench quick\n")
    for block in made.blocks:
        if isinstance(block, ReportHeading):
            assert f"\n{'#' * (block.level + 1)} {block.text}\n" in text
        elif isinstance(block, ReportTable):
            assert table(block) in text
        elif isinstance(block, Curves):
            assert all(run in text for run in block.runs)
        else:
            assert block.markdown in text
