import copy
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pai_bench.cli.main import main
from pai_bench.leaderboard import html
from pai_bench.leaderboard.export import COLUMNS
from pai_bench.leaderboard.html import embed, render

HOSTILE = "</script><script>alert(1)</script><!--"
CELL = "a1b2c3d4e5f6"
FAILED = "0f0f0f0f0f0f"


def row(line, kind, density, mean):
    return {
        "line": line,
        "method": line,
        "kind": kind,
        "density": density,
        "n": 2,
        "mean": mean,
        "low": mean - 0.01,
        "high": mean + 0.01,
        "best_epoch": mean,
        "achieved": density,
        "effective": density,
        "collapsed": 0,
        "training": 4.32e9 * density,
        "left": None,
        "delta": None,
        "checks": {},
        "checked": {},
        "cells": [],
        "seeds": [],
        "missing": [],
    }


CHECK = {"mean": 0.2345, "low": 0.2, "high": 0.27}


def board():
    missing = [{"seed": 3, "status": "failed", "reason": HOSTILE}]
    ran = {"cells": [CELL, FAILED], "seeds": [1, 3], "missing": missing, "collapsed": 1}
    delta = {"against": "snip", "mean": 0.0123, "low": None, "high": None}
    return {
        "suite": "quick",
        "about": "A made-up board.",
        "network": "lenet-300-100",
        "data": "digits",
        "epochs": 2,
        "evaluated": "validation",
        "prunable": 50200,
        "seeds": [1, 2, 3],
        "rows": [
            row("dense", "reference", 1.0, 0.97),
            {**row("snip", "baseline", 0.1, 0.9411), "checks": {"invert": CHECK}},
            row("snip", "baseline", 0.01, 0.8),
            {
                **row("ntk-sap", "paper", 0.1, 0.9534),
                "low": 0.9,
                "best": True,
                "delta": delta,
                **ran,
            },
            {**row("ntk-sap", "paper", 0.01, 0.5), "n": 0, "mean": None, "low": None, "high": None},
        ],
    }


def claim(name, at, state, **more):
    known = {
        "id": f"table/{name}/{at}",
        "block": "table",
        "kind": "absolute",
        "digits": 2,
        "at": at,
        "claimed": "95.1±0.2",
        "suite": "quick",
        "method": {"printed": name, "ours": name, "name": name},
        "state": state,
        "reason": "its cells have not run",
        "n": 0,
        "deviations": [0],
        "command": "",
    }
    return {**known, **more}


def paper():
    measured = {
        "ours": {"mean": 95.34},
        "difference": {"mean": 0.24, "low": -0.1, "high": 0.58},
        "tolerance": [-0.9, 0.9],
        "p_adjusted": 0.012,
    }
    point = {
        "line": "ntk-sap",
        "density": 0.1,
        "y": 0.951,
        "spread": 0.002,
        "text": "95.1 accuracy",
    }
    tested = {"measured": measured, "n": 3, "reason": "inside", "point": point}
    block = {
        "about": "Accuracy on digits",
        "source": {"what": "table 1", "by": "paper", "reading": "printed"},
        "network": "",
        "data": "",
        "metric": "accuracy",
        "unit": "%",
        "epoch": "last",
        "doubt": "",
    }
    return {
        "paper": "made-up",
        "title": "A made-up paper",
        "venue": "Nowhere 2020",
        "url": "javascript:alert(1)",
        "bibtex": "@inproceedings{made-up}",
        "states": {"reproduced": 1, "not reproduced": 0, "inconclusive": 0, "not run": 2},
        "rules": {"absolute": "the interval lies inside"},
        "missing": ["figure 9"],
        "deviations": ["other seeds"],
        "blocks": {"too-large": {**block, "about": "Accuracy elsewhere"}, "table": block},
        "claims": [
            {**claim("ntk-sap", "0.5", "not run"), "id": "too-large", "block": "too-large"},
            claim("ntk-sap", "0.1", "reproduced", **tested),
            claim("snip", "0.1", "not run"),
        ],
    }


def method():
    return {
        "about": "Keeps what the kernel needs.",
        "kind": "paper",
        "paper": "ntk-sap",
        "when": "init",
        "needs_data": False,
        "needs_labels": False,
        "version": 1,
        "origin": "method.py:1",
        "hyper": {"epsilon": {"kind": "float", "value": 0.0125}},
    }


SHARED = {
    "environment": {"e0": {"host": {"os": "Linux"}, "note": HOSTILE}},
    "recipe": {"r0": {"epochs": 2, "evaluate": "validation"}},
    "hyper": {"h0": {"epsilon": 0.01}},
    "layers": {"l0": [["fc1.weight", [300, 64], 19200]]},
}


def cell():
    return {
        "id": CELL,
        "line": "ntk-sap",
        "method": "ntk-sap",
        "suite": "quick",
        "density": 0.1,
        "seed": 1,
        "status": "done",
        "command": "pai-bench run --seed 1",
        "accuracy": {"last": 0.9534, "best": 0.96, "best_epoch": 1},
        "collapsed": [],
        "layers": "l0",
        "kept": [[1536, 1400, 1234]],
        "recipe": "r0",
        "hyper": "h0",
        "environment": "e0",
        "architecture": "408-100-69",
        "metrics": {"compacted-bytes": 31914.75, "error": 4.66},
        "flops": {
            "inference_dense": 100400,
            "inference": 10040,
            "scoring": 123456,
            "training": None,
        },
        "curves": {
            "every": 1,
            "epochs": 2,
            "train_loss": [2.0, None],
            "test_accuracy": [0.5, 0.9534],
        },
    }


FAILURE = {"id": FAILED, "line": "ntk-sap", "method": "ntk-sap", "suite": "quick", "density": 0.1,
           "seed": 3, "status": "failed", "reason": HOSTILE}  # fmt: skip
LINES = [embed(cell()), embed(FAILURE)]


@pytest.fixture
def page():
    return {
        "title": "ntk-sap · quick",
        "about": HOSTILE,
        "command": "make reproduce PAPER=ntk-sap",
        "rebuild": "pai-bench leaderboard --suite quick",
        "boards": [board()],
        "claims": [paper()],
        "methods": {"ntk-sap": method()},
        "checks": {"invert": "the lowest scores are kept"},
        "metrics": [
            {"name": "compacted-bytes", "about": "Bytes of it.", "unit": "bytes", "decimals": None},
            {"name": "error", "about": "Part.", "unit": "%", "decimals": 2},
        ],
    }


def rendered(page):
    return "".join(render(page, SHARED, LINES))


class Scripts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []
        self.inside = False

    def handle_starttag(self, tag, attrs):
        self.inside = tag == "script"
        if self.inside:
            self.found.append([dict(attrs), ""])

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.found[-1][1] += data


def scripts(text):
    parser = Scripts()
    parser.feed(text)
    parser.close()
    return parser.found


def test_the_data_come_back_as_they_went_in(page):
    (attributes, data), (_, details), (_, program) = scripts(rendered(page))
    assert attributes == {"type": "application/json", "id": "data"}
    assert json.loads(data) == page
    assert [json.loads(line) for line in details.split("\n")] == [SHARED, cell(), FAILURE]
    assert program.rstrip().endswith("start();")


def test_a_line_begins_with_its_id_where_the_page_looks_for_it():
    assert all(line[7:].startswith((CELL, FAILED)) for line in LINES)


def test_no_string_can_leave_the_data_element(page):
    text = rendered(page)
    assert HOSTILE not in text
    assert text.lower().count("<script") == text.lower().count("</script") == 3


def test_a_slot_for_the_data_is_filled_once_even_if_the_data_name_it(page):
    page["about"] = "@@DATA@@ @@DETAILS@@"
    assert json.loads(scripts(rendered(page))[0][1]) == page


def test_the_page_refers_to_nothing_outside_of_itself(page):
    page["about"] = "https://example.org"  # in the data an address is only text
    text = re.sub(r'<script type="application/json".*?</script>', "", rendered(page), flags=re.S)
    references = r"(?:(?:src|srcset|href|action)\s*[=:]|url\(|import\b\s*\(?)"
    assert not re.search(rf"""{references}\s*["'`]?\s*(?:\w+:)?//""", text, flags=re.I)
    assert not re.search(r"\b(?:fetch|XMLHttpRequest|WebSocket|sendBeacon|EventSource)\b", text)
    assert "default-src 'none'" in text


def test_the_program_never_reads_data_as_markup():
    program = scripts("".join(render({}, {}, [])))[2][1]
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function"
    assert not re.search(markup, program)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused(page, value):
    page = copy.deepcopy(page)
    page["boards"][0]["rows"][1]["mean"] = value
    with pytest.raises(ValueError, match="JSON"):
        rendered(page)


@pytest.fixture
def drawn(page, tmp_path, browser):
    """Give a function that draws the page at an anchor and returns the resulting elements."""
    file = tmp_path / "index.html"
    file.write_text(rendered(page), encoding="utf-8")

    def draw(anchor=""):
        # Without the data and the program, what is left was drawn.
        return re.sub(r"<script.*?</script>", "", browser.html(file.as_uri() + anchor), flags=re.S)

    return draw


def test_what_a_plugin_says_of_itself_is_text_in_a_browser(page, tmp_path, browser):
    page = copy.deepcopy(page)
    said = "<img src=x onerror=\"document.title='run'\">"
    method = page["methods"]["ntk-sap"]
    method["about"], method["origin"], method["paper"] = said, said, said
    method["hyper"] = {said: {"kind": said, "value": said}}
    file = tmp_path / "index.html"
    file.write_text(rendered(page), encoding="utf-8")
    shown = browser.html(file.as_uri() + "#/method/ntk-sap")
    drawn = re.sub(r"<script.*?</script>", "", shown, flags=re.S)
    assert drawn.count("&lt;img src=x onerror=") >= 4
    assert "<img" not in drawn
    assert "<title>run" not in drawn


def test_a_browser_draws_the_chart_and_the_table(drawn):
    text = drawn()
    assert re.search(r'<div class="plot"><svg [^>]*viewBox', text)
    assert "★ 95.34" in text
    assert "+1.23" in text
    assert "seed 3 failed" in text
    assert f'href="#/cell/{CELL}"' in text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text  # the hostile string is shown as text
    assert "− invert" in text
    assert "+23.45" in text
    assert "validation error after the last epoch" in text
    assert "fc1.weight" not in text  # cells are built only when they are opened


PRESS = """<script>
for (const button of document.querySelectorAll("button.option"))
  if (button.textContent === "against training FLOPs") button.click();
const right = new KeyboardEvent("keydown", { key: "ArrowRight" });
document.querySelector(".plot svg").dispatchEvent(right);
</script></body>"""


def test_the_chart_changes_from_density_to_training_flops(drawn, tmp_path):
    text = drawn()
    assert "error against density" in text
    assert "432 M" in text  # SNIP at density 0.1, in the table
    file = tmp_path / "index.html"
    file.write_text(file.read_text(encoding="utf-8").replace("</body>", PRESS), encoding="utf-8")
    pressed = drawn()
    chart = re.search(r'<div class="plot">.*?</figcaption>', pressed, re.S).group()
    assert "error against training FLOPs" in chart
    assert all(
        f">{tick}</text>" in chart for tick in ("50 M", "100 M", "200 M", "500 M", "1 G", "2 G")
    )
    assert "43.2 M training FLOPs" in chart  # the cheapest place, read with an arrow key
    assert "at 1%" in chart
    assert "sparsity" not in chart


def test_a_page_without_costs_offers_no_such_axis(page, drawn, tmp_path):
    assert "against training FLOPs" in drawn()
    for shown in page["boards"][0]["rows"]:
        shown["training"] = None
    (tmp_path / "index.html").write_text(rendered(page), encoding="utf-8")
    assert "against training FLOPs" not in drawn()


def test_rows_stand_by_density_and_then_by_accuracy(drawn):
    text = drawn()
    table = text[text.index("<tbody") : text.index("</tbody>")]
    shown = re.findall(r"(97\.00|95\.34|94\.11|80\.00)", table)
    assert list(dict.fromkeys(shown)) == ["97.00", "95.34", "94.11", "80.00"]


def test_a_browser_draws_a_cell_by_its_address(drawn):
    text = drawn(f"#/cell/{CELL}")
    layers = re.search(r'<table class="data layers">.*?</table>', text, re.S)
    assert layers
    assert "fc1.weight" in layers.group()
    assert "7.292%" in layers.group()
    assert 'aria-label="validation accuracy, % over the epochs"' in text
    assert "pai-bench run --seed 1" in text
    assert "host.os" in text
    assert "408-100-69" in text
    assert "compacted-bytes" in text
    assert "4.66 %" in text
    assert "31,915 bytes" in text


def test_a_changed_address_is_followed(drawn, tmp_path):
    drawn()
    file = tmp_path / "index.html"
    follow = f'<script>location.hash = "#/cell/{CELL}";</script></body>'
    file.write_text(file.read_text(encoding="utf-8").replace("</body>", follow), encoding="utf-8")
    assert "pai-bench run --seed 1" in drawn()


def test_the_start_of_an_id_is_enough(drawn):
    assert "pai-bench run --seed 1" in drawn(f"#/cell/{CELL[:6]}")


@pytest.mark.parametrize(
    ("anchor", "said"),
    [
        (f"#/cell/{FAILED}", "failed"),
        ("#/cell/nope", "No such cell"),
        ("#/method/nope", "No such method"),
        ("#/claims/nope", "No such paper"),
        ("#/nope", "No such view"),
    ],
)
def test_a_browser_says_what_an_address_lacks(drawn, anchor, said):
    assert said in drawn(anchor).partition('id="view"')[2]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("density=0.01", "3 of 5"),
        ("kind=paper", "2 of 5"),
        ("kind=paper&density=0.1", "1 of 5"),
        ("text=failed", "1 of 5"),
        ("network=lenet-300-100&data=digits", "5 of 5"),
    ],
)
def test_filters_stand_in_the_address(drawn, query, left):
    assert f"{left} rows" in drawn(f"#/board?{query}")


def test_filters_of_other_data_leave_no_board(drawn):
    assert "No suite is left" in drawn("#/board?data=cifar10")


def test_the_table_is_sorted_as_the_address_says(drawn):
    text = drawn("#/board?sort=accuracy")
    table = text[text.index("<tbody") : text.index("</tbody>")]
    shown = re.findall(r"(97\.00|95\.34|94\.11|80\.00)", table)
    assert list(dict.fromkeys(shown)) == ["80.00", "94.11", "95.34", "97.00"]
    assert 'aria-sort="ascending"' in text


FILTER = """<script>
const select = [...document.querySelectorAll(".tools select")].at(-1);
select.value = "baseline";
select.dispatchEvent(new Event("change"));
[...document.querySelectorAll("thead button")].find((b) => b.textContent === "training").click();
document.title = location.hash;
</script></body>"""


def test_what_is_clicked_goes_into_the_address(drawn, tmp_path):
    drawn()
    file = tmp_path / "index.html"
    file.write_text(file.read_text(encoding="utf-8").replace("</body>", FILTER), encoding="utf-8")
    text = drawn()
    assert "<title>#/board?kind=baseline&amp;sort=-training</title>" in text
    assert "2 of 5 rows" in text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("x=flops", "validation error against training FLOPs"),
        ("y=accuracy", "validation accuracy against density"),
        ("bands=snip", '<g class="band on" data-line="snip">'),
        ("columns=all", '<table class="data checked whole">'),
    ],
)
def test_the_chart_and_the_columns_stand_in_the_address(drawn, query, said):
    assert said in drawn(f"#/board?{query}")
    assert said not in drawn()


def test_of_many_lines_eight_are_drawn_and_all_when_asked(page, drawn, tmp_path):
    def lines(text):
        return re.findall('<g class="line" data-line="([^"]*)"', text)

    assert len(lines(drawn())) == 3
    rows = page["boards"][0]["rows"]
    rows += [row(f"more-{i}", "baseline", 0.1, 0.5 + i / 100) for i in range(9)]
    ranked = [
        {"label": f"more-{i}", "rank": i, "area": None, "middle": 0.5} for i in range(8, -1, -1)
    ]
    page["boards"][0]["ranking"] = {"densities": [0.1], "runs": 1, "lines": ranked}
    (tmp_path / "index.html").write_text(rendered(page), encoding="utf-8")
    shown = {"ntk-sap", "dense", *(f"more-{i}" for i in range(8, 2, -1))}
    assert set(lines(drawn())) == shown
    assert len(lines(drawn("#/board?lines=all"))) == 12
    assert set(lines(drawn("#/board?lines=snip%7Cmore-0"))) == {"more-0", "snip"}


@pytest.mark.parametrize("colors", [(), (("ntk-sap", "snip"), ("set",))])
def test_a_line_keeps_its_colour_whatever_stands_beside_it(page, drawn, tmp_path, colors):
    def looks(rows):
        page["colors"], page["boards"][0]["rows"] = colors, rows
        (tmp_path / "index.html").write_text(rendered(page), encoding="utf-8")
        strokes = r'<g class="line" data-line="([^"]*)">(.*?)</g>'
        drawn_lines = dict(re.findall(strokes, drawn("#/board?lines=all"), re.S))
        return {line: set(re.findall("--c[0-9]", shown)) for line, shown in drawn_lines.items()}

    drawn()
    rows = page["boards"][0]["rows"]
    snip = [r for r in rows if r["line"] == "snip"]
    variant = {**snip[0], "line": "snip (scope=erk)"}
    alone, beside = looks(snip), looks([*rows, variant, row("set", "baseline", 0.1, 0.9)])
    assert len(alone["snip"]) == 1
    assert alone["snip"] == beside["snip"] == beside["snip (scope=erk)"]
    if colors:
        assert beside["snip"] == beside["ntk-sap"] == {"--c0"}
        assert beside["set"] == {"--c1"}


def test_what_a_paper_prints_is_a_ring_in_the_chart(drawn):
    text = drawn()
    assert text.count('class="printed"') == 1
    assert "printed values" in text


def test_claims_stand_beside_what_was_measured(drawn):
    text = drawn("#/claims/made-up")
    assert "95.1±0.2" in text
    assert "95.34" in text
    assert "+0.24 [\u22120.10, +0.58]" in text
    assert "✓" in text
    assert "its cells have not run" in text
    assert "other seeds" in text
    assert "figure 9" in text
    assert text.index("Accuracy on digits") < text.index("Accuracy elsewhere")  # tested ones first
    assert 'href="javascript' not in text
    assert "its cells have not run" not in drawn("#/claims/made-up?state=reproduced")


def test_a_method_has_its_parameters_layers_and_cost(drawn):
    text = drawn("#/method/ntk-sap")
    assert "Keeps what the kernel needs." in text
    assert "0.0125" in text
    assert "7.29%" in text  # of fc1.weight, in the end
    assert "123 k" in text
    assert f'href="#/cell/{CELL}"' in text


MORE = """<script>
document.title = document.querySelectorAll("tbody tr").length;
document.querySelector("button.more").click();
document.title += "+" + document.querySelectorAll("tbody tr").length;
</script></body>"""


def test_of_many_rows_a_part_is_drawn_and_the_rest_comes_when_asked(page, drawn, tmp_path):
    page["boards"][0]["rows"] = [row("snip", "baseline", 0.5 / (1 + i), 0.9) for i in range(250)]
    drawn()
    file = tmp_path / "index.html"
    file.write_text(rendered(page).replace("</body>", MORE), encoding="utf-8")
    text = drawn("#/board?sort=density")
    assert "<title>100+200</title>" in text
    assert "show 50 more of 50 rows" in text


def test_lines_of_a_single_density_stand_side_by_side(page, drawn, tmp_path):
    assert "h24" not in drawn()
    page["boards"][0]["rows"] = [r for r in page["boards"][0]["rows"] if r["density"] != 0.01]
    (tmp_path / "index.html").write_text(rendered(page), encoding="utf-8")
    text = drawn()
    bands = re.findall(r'd="M([\d.]+) [^"]*V[^"]*" stroke="[^"]*" stroke-opacity="0.5"', text)
    assert len(bands) == len(set(bands)) == 2
    assert text.count("h24") == 1


def test_dead_units_are_told_where_they_were_counted(page, drawn, tmp_path):
    assert "FLOPs left" not in drawn()
    page["boards"][0]["rows"][1]["left"] = 0.625
    (tmp_path / "index.html").write_text(rendered(page), encoding="utf-8")
    text = drawn()
    assert "FLOPs left" in text
    assert "62.5%" in text


def test_two_suites_are_folded_until_one_is_asked_for(page, drawn, tmp_path):
    drawn()
    other = {**board(), "suite": "other", "network": "conv-6"}
    page["boards"].append(other)
    (tmp_path / "index.html").write_text(rendered(page), encoding="utf-8")
    text = drawn()
    assert text.count('<details class="board"') == 2
    assert text.count("<tbody>") == 2  # that of the papers, and that of the open board
    assert drawn("#/board?network=conv-6").count('<details class="board"') == 1
    assert '<details class="board"' not in drawn("#/board?suite=other")


def test_a_page_of_several_suites_begins_with_what_holds(page, drawn, tmp_path):
    assert "What holds" not in drawn()
    page["boards"].append({**board(), "suite": "other"})
    (tmp_path / "index.html").write_text(rendered(page), encoding="utf-8")
    text = drawn()
    assert text.index("What holds") < text.index('<details class="board"')
    assert 'href="#/claims/made-up?state=reproduced" aria-label="1 reproduced">1</a>' in text


def test_an_interval_is_shown_within_the_possible_and_written_as_it_is(
    page, drawn, tmp_path, saved_files
):
    page["boards"][0]["rows"][1] |= {"low": -0.2851, "high": 1.1165}
    drawn()
    (tmp_path / "index.html").write_text(rendered(page), encoding="utf-8")
    text = drawn()
    assert "[0.00, 100.00]" in text
    assert "111.65" not in re.search(r"<table.*</table>", text, re.S).group()
    saved = saved_files(rendered(page))
    header, *lines = saved["quick.csv"].splitlines()
    assert header == ",".join(COLUMNS)
    (snip,) = (line.split(",") for line in lines if ",snip,0.1," in line)
    values = dict(zip(COLUMNS, snip, strict=True))
    assert (values["low"], values["high"]) == ("-0.2851", "1.1165")
    assert "| snip | 0.1 | 90 | 94.11 ± 17.54 | 2 |  | 0.1 |" in saved["quick.md"].splitlines()
    latex = r"ntk-sap & 0.1 & 90 & 95.34 $\pm$ 1.00 & 2 & +1.23 & 0.1 \\"
    assert latex in saved["quick.tex"]
    assert saved["quick.svg"].startswith("<svg")
    assert "var(" not in saved["quick.svg"]


def test_a_plot_is_saved_in_light_colours_whichever_are_shown(page, saved_files):
    light = saved_files(rendered(page))["quick.svg"]
    assert saved_files(rendered(page), dark=True)["quick.svg"] == light
    assert 'fill="#fdfdfc"' in light


MEASURE = """<script>
const sheet = document.querySelector(".data.checked");
document.title = `${sheet.scrollWidth} of ${sheet.parentElement.clientWidth}`;
</script></body>"""


def test_a_board_with_five_sanity_checks_fits_a_page_of_1200_pixels(browser, tmp_path):
    suite = Path(__file__).parents[2] / "reproductions/ntk_sap/evidence/sanity"
    shutil.copytree(suite, tmp_path / "runs/sanity")
    assert main(["leaderboard", "--suite", "sanity", "--runs", str(tmp_path / "runs")]) == 0
    text = (tmp_path / "runs/sanity/leaderboard.html").read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(text.replace("</body>", MEASURE), encoding="utf-8")
    shown = browser.html((tmp_path / "page.html").as_uri(), width=1200)
    width, room = map(int, re.search("<title>(.*) of (.*)</title>", shown).groups())
    assert width <= room


def test_the_curves_of_a_cell_are_files_too(page, saved_files):
    saved = saved_files(rendered(page), f"#/cell/{CELL}")
    assert set(saved) == {f"{CELL}-loss.svg", f"{CELL}-validation-accuracy.svg"}
    assert all(svg.startswith("<svg") and "var(" not in svg for svg in saved.values())


def test_every_part_of_the_page_is_in_it(page):
    text = rendered(page)
    parts = sorted((Path(html.__file__).parent / "web").iterdir())
    assert {path.suffix for path in parts} == {".html", ".css", ".js"}
    assert all(path.read_text() in text for path in parts if path.suffix != ".html")
