"""What a page is made of: only what may be published, and only what its plots need."""

import csv
import json
import re
import shutil
from dataclasses import replace

import pytest

from pai_bench.claims.lookup import ResultLookup
from pai_bench.config.schema import SANITY_CHECKS
from pai_bench.core.errors import BenchError
from pai_bench.core.redact import redact_data, redact_text
from pai_bench.leaderboard import html
from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.colors import COLORS
from pai_bench.leaderboard.export import COLUMNS, export
from pai_bench.leaderboard.page import PageHeading, page
from pai_bench.leaderboard.page_cells import LONGEST, thinned
from pai_bench.store import index
from pai_bench.store.result import Accuracy, Layer, Result
from pai_bench.store.store import Store

HOME = "/home/somebody/secret project"
KEY = "0123456789abcdef" * 2
ENVIRONMENT = {
    "command": "pai-bench run quick --config /home/somebody/mine/benchmark.yaml",
    "data": {"source": "/home/somebody/mirror/digits", "digest": "ab"},
}


@pytest.fixture
def made(tmp_path, quick, settings, methods, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    cells = quick(methods=("dense", "snip", "ntk-sap"), densities=(0.1,), sanity_checks=("invert",))
    store = Store(tmp_path / "runs", "quick")
    for cell in cells:
        if cell.method == "ntk-sap" and cell.seed == 2:
            reason = f"no file '/home/somebody/x.txt', key {KEY}"
            store.put(cell, Result("failed", reason, "File /home/somebody/y.py"))
            continue
        value = 0.9 + cell.seed / 100
        layers = (Layer("fc1.weight", (3, 4), 12, 6, 6, 5),)
        result = Result("done", accuracy=Accuracy(value, value, 1), density=0.1, effective=0.09,
                        layers=layers, environment=ENVIRONMENT)  # fmt: skip
        store.put(cell, result, {"test_accuracy": [0.123456789, value]})
    found = board(store, "quick", cells, {"ntk-sap"})
    heading = PageHeading("t", "a", f"pai-bench run quick --plugin /home/somebody/my.py {KEY}", "r")
    measured = ResultLookup(settings, methods, [tmp_path / "runs"])
    return page(heading, [found], settings, methods, measured), cells


def lines_of(made):
    return {(line := json.loads(text))["id"]: line for text in made[0].cells}


def test_every_cell_has_a_line_that_begins_with_its_id(made):
    found, cells = made
    assert {line[7:19] for line in found.cells} == {cell.id for cell in cells}


def test_cells_share_what_they_have_in_common(made):
    shared = made[0].shared
    assert {name: len(records) for name, records in shared.items()} == {
        "environment": 2,  # that of the failed cell is empty
        "recipe": 1,
        "hyper": 1,
        "layers": 1,
    }
    done = next(line for line in lines_of(made).values() if line["status"] == "done")
    assert shared["layers"][done["layers"]] == [["fc1.weight", [3, 4], 12]]
    assert done["kept"] == [[6, 6, 5]]
    assert done["curves"]["test_accuracy"][0] == 0.123457


def test_a_page_names_no_folder_of_this_machine_and_no_key(made, tmp_path):
    found = made[0]
    text = "".join(html.render(found.data, found.shared, found.cells))
    for secret in ("somebody", KEY, str(tmp_path)):
        assert secret not in text
    assert "benchmark.yaml" in text
    assert "a mirror" in text
    assert "x.txt" in text


def test_rows_know_the_seeds_of_their_cells_and_of_their_checks(made):
    rows = {row["line"]: row for row in made[0].data["boards"][0]["rows"]}
    known = lines_of(made)
    row = rows["snip"]
    assert [known[i]["seed"] for i in row["cells"]] == row["seeds"] == [1, 2, 3]
    checks = row["checked"]["invert"]
    assert [known[i]["seed"] for i in checks["cells"]] == checks["seeds"]
    assert all(known[i]["ablation"] == "invert" for i in checks["cells"])
    assert "checked" in rows["dense"]


def test_files_of_a_page_hold_what_is_exported(made, saved_files, tmp_path):
    found, cells = made
    exported = board(Store(tmp_path / "runs", "quick"), "quick", cells, {"ntk-sap"})
    saved = saved_files("".join(html.render(found.data, found.shared, found.cells)))

    def lines(text):  # in the order of the table; LaTeX sets methods of a board's order apart
        return sorted(line for line in text.splitlines() if line != r"\addlinespace")

    assert lines(saved["quick.md"]) == lines(export(exported, "markdown").decode())
    assert lines(saved["quick.tex"]) == lines(export(exported, "latex").decode())

    def values(text):
        rows = csv.DictReader(text.splitlines())
        return {row["method"]: [numbers(row[name]) for name in COLUMNS] for row in rows}

    def numbers(text):
        return float(text) if re.fullmatch(r"[-\d.e]+", text) else text

    assert values(saved["quick.csv"]) == values(export(exported, "csv").decode())


def test_a_page_ranks_the_lines_of_a_board(made):
    ranking = made[0].data["boards"][0]["ranking"]
    assert ranking["densities"] == (0.1,)
    assert ranking["runs"] == 2  # of ntk-sap, the network of seed 2 failed
    lines = {line["label"]: line for line in ranking["lines"]}
    assert {name: line["rank"] for name, line in lines.items()} == {"snip": 1.5, "ntk-sap": 1.5}
    assert lines["snip"]["area"] is None


def test_every_method_that_prunes_has_one_colour(methods):
    named = [name for names in COLORS for name in names]
    assert len(named) == len(set(named))
    assert {"dense", *named} == set(methods)


def test_every_sanity_check_is_explained(made):
    assert set(made[0].data["checks"]) == set(SANITY_CHECKS)


def test_the_claims_of_a_suites_paper_stand_on_its_page(made):
    papers = {paper["paper"]: paper for paper in made[0].data["claims"]}
    assert "ntk-sap" in papers
    found = papers["ntk-sap"]
    assert len(found["claims"]) == sum(found["states"].values()) > 0
    assert {claim["block"] for claim in found["claims"]} == set(found["blocks"])


def test_a_printed_accuracy_has_its_place_in_the_plot(made, settings, methods, tmp_path):
    from pai_bench.claims.parser import available
    from pai_bench.claims.serializer import as_json, packed
    from pai_bench.leaderboard.page_claims import judged

    measured = ResultLookup(settings, methods, [tmp_path / "none"])
    claims = available()["ntk-sap"]
    (found,) = judged([claims], ["ntk-sap-cifar10"], measured)
    data = packed(as_json(found.claims, found.verdicts, measured))
    points = [claim for claim in data["claims"] if "point" in claim]
    assert points
    for claim in points:
        point = claim["point"]
        assert 0 < point["y"] < 1
        assert point["density"] == float(claim["at"])
        assert claim["suite"]
    lines = {claim["point"]["line"] for claim in points if claim["suite"] == "ntk-sap-cifar10"}
    assert "ntk-sap" in lines


@pytest.mark.parametrize("epochs", [1, LONGEST, LONGEST + 1, 3 * LONGEST + 7])
def test_a_thinned_curve_keeps_its_last_epoch(epochs):
    curve = [1 / (1 + epoch) for epoch in range(epochs)]
    found = json.loads(thinned({"train_loss": curve}))
    kept = found["train_loss"]
    places = [min(epochs, (i + 1) * found["every"]) for i in range(len(kept))]
    assert len(kept) == -(-epochs // found["every"]) <= LONGEST
    assert places[-1] == epochs
    assert kept == [pytest.approx(curve[place - 1], rel=1e-5) for place in places]


def test_a_value_that_is_not_known_stays_unknown():
    values = [None, 0.0, 0.5, float("nan"), float("inf"), 1e300, 1e300]
    found = json.loads(thinned({"test_loss": values, 'odd "name"': [1e300] * 7}))
    assert found["test_loss"] == [None, 0.0, 0.5, None, None, 1e300, 1e300]
    assert found['odd "name"'] == [1e300] * 7
    assert thinned({}) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/runs/quick/a.json: missing", "a.json: missing"),
        ("--runs ~/deep/runs", "--runs runs"),
        (r"C:\Users\me\runs", "runs"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("ylecun/mnist at 1/2", "ylecun/mnist at 1/2"),
        ("shape 3/4", "shape 3/4"),
    ],
)
def test_paths_lose_their_folders(text, shown):
    assert redact_text(text) == shown
    assert redact_data({"a": [text, 1]}) == {"a": [shown, 1]}


@pytest.fixture
def written(monkeypatch):
    """Indexes are written however little they hold."""
    monkeypatch.setattr(index, "WORTH_WRITING", 1)


def again(store_folder, settings, methods, cells):
    """The page as a new process makes it."""
    index.clear_cache()
    found = board(Store(store_folder, "quick"), "quick", cells, {"ntk-sap"})
    measured = ResultLookup(settings, methods, [store_folder])
    return page(PageHeading("t", "a", "c", "r"), [found], settings, methods, measured)


def line_of(found, cell):
    (line,) = [json.loads(text) for text in found.cells if cell.id in text]
    return line


def test_a_page_from_the_index_is_what_would_be_made_anew(
    written, made, tmp_path, settings, methods, monkeypatch
):
    first, cells = made
    runs, file = tmp_path / "runs", tmp_path / "runs/quick" / index.NAME
    assert file.is_file()
    with monkeypatch.context() as patch:
        patch.setattr(index, "read_stored", None)  # nothing is read again
        second = again(runs, settings, methods, cells)
    file.unlink()
    third = again(runs, settings, methods, cells)
    assert list(first.cells) == list(second.cells) == list(third.cells)
    assert first.shared == second.shared == third.shared
    assert first.data["boards"] == second.data["boards"] == third.data["boards"]
    assert first.data["claims"] == second.data["claims"] == third.data["claims"]


def test_a_result_that_changed_is_read_anew(written, made, tmp_path, settings, methods):
    _, cells = made
    runs = tmp_path / "runs"
    entry = Store(runs, "quick").get(cells[0].id)
    new = replace(entry.result, accuracy=Accuracy(0.5, 0.6, 1), environment={"python": "4"})
    Store(runs, "quick").put(entry.cell, new, {"test_accuracy": [0.25]})
    found = again(runs, settings, methods, cells)
    line = line_of(found, entry.cell)
    assert line["accuracy"]["last"] == 0.5
    assert line["curves"]["test_accuracy"] == [0.25]
    assert {"python": "4"} in found.shared["environment"].values()
    curves = entry.folder / "curves.json"  # by hand, which moves no folder
    curves.write_text(json.dumps({"test_accuracy": [0.75]}))
    with pytest.raises(BenchError, match=r"curves\.json: altered since it was written"):
        again(runs, settings, methods, cells)
    shutil.rmtree(entry.folder)
    found = again(runs, settings, methods, cells)
    assert line_of(found, entry.cell)["status"] == "not run"


def test_lines_made_with_other_keys_are_not_shown(
    written, made, tmp_path, settings, methods, monkeypatch
):
    _, cells = made
    before = again(tmp_path / "runs", settings, methods, cells)
    assert "x.txt" in "".join(before.cells)
    monkeypatch.setenv("OTHER_TOKEN", "no file '")
    after = again(tmp_path / "runs", settings, methods, cells)
    assert "no file" not in "".join(after.cells)
