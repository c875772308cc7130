"""The command line: lists start fast, bad input is one line, every command does what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pai_bench
from pai_bench.cli.main import main
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.store import Store

ROOT = Path(__file__).parents[2]
CONFIG = ("--config", str(ROOT / "benchmark.yaml"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("reproduce", "ntk-sapp"), 'unknown paper "ntk-sapp"; did you mean "ntk-sap"?'),
        (("reproduce", "ntk-sap", "--suite", "minst"), 'did you mean "mnist"?'),
        (("run", "quik"), 'unknown suite "quik"; did you mean "quick"?'),
        (("run", "quick", "--methods", "snpi"), 'did you mean "snip"?'),
        (("run", "quick", "--densities", "1.5"), "density 1.5 is impossible"),
        (("run", "quick", "--densities", "0,1"), "density 0 is impossible"),
        (("run", "quick", "--densities", "a"), "not a list of numbers: 'a'"),
        (("run", "quick", "--plugin", "none.py"), "none.py: no such file"),
        (("run", "quick", "--jobs", "x"), "not a number of workers: 'x'"),
        (("run", "quick", "--jobs", "0"), "not a number of workers: '0'"),
        (("run", "quick", "--wandb", "maybe"), "--wandb"),
        (("run", "quick", "--precision", "32"), "argument --precision: invalid choice"),
        (("run", "quick", "--devices", "x"), "not auto, a number or a list as 0,1"),
        (("run", "quick", "--devices", "2", "--accelerator", "cpu"), "one CPU device"),
        (("run", "quick", "--devices", "2"), "one CPU device"),
        (("run", "quick", "--accumulate", "0"), "not a number of pieces: '0'"),
        (("run", "quick", "--devices", "2"), "--strategy ddp trains each in several processes"),
        (("run", "quick", "--devices", "0,1", "--strategy", "ddp"), "one CPU device"),
        (("run", "quick", "--strategy", "fsdp", "--devices", "2"), "strategy fsdp: "),
        (("run", "quick", "--devices", "9", "--accelerator", "gpu"), "this machine has 0 GPUs"),
        (("plan", "quick", "--devices", "9", "--accelerator", "gpu"), "this machine has 0 GPUs"),
        (("run", "quick", "--seeds", "-1"), "seed -1 is impossible"),
        (("run", "quick", "--seeds", str(2**63)), "it must be 0 or above, of 63 bits"),
        (("run", "quick", "--set", "lr=.inf"), "lr: input should be a finite number"),
        (("run", "quick", "--set", "epochs=010"), "epochs: input should be a valid integer"),
        (("run", "quick", "--runs", __file__), "test_commands.py is a file, and no folder"),
        (("show", "abc"), "no stored cell"),
        (("evidence", "quik", "kept"), 'did you mean "quick"?'),
        (("evidence", "quick", "kept"), "no finished cell to copy"),
        (("leaderboard",), "holds no results yet"),
        (("data", "minst"), 'unknown data set "minst"; did you mean "mnist"?'),
        (("data", "export", "mnist"), "write: pai-bench data export DATASET FOLDER"),
        (("data", "export", "digits", "out"), "comes with a library"),
        (("data", "export", "mnist", "out", "--part-size", "60"), "not a size as 500k, 60M or 2G"),
        (("data", "mnist", "--part-size", "60M"), "only `pai-bench data export` writes parts"),
        (("data", "import"), "write: pai-bench data import FOLDER [INTO]"),
        (("data", "import", "nowhere"), "nowhere: no folder in it has a SHA256SUMS.parts"),
        (("run", "quick", "--network", "resnet20"), 'did you mean "resnet-20"?'),
        (("run", "quick", "--network", "nowhere:build"), "no module nowhere"),
        (("run", "quick", "--set", "epochs=x"), "epochs: input should be a valid integer"),
        (("run", "quick", "--validation", "2"), "holdout: input should be less than 1"),
        (("leaderboard", "--suite", "quick+epoch=2"), 'did you mean "epochs"?'),
        (("claims", "rigel"), 'unknown paper with claims "rigel"; did you mean "rigl"?'),
        (("evidence-report", "rigel"), 'unknown paper with claims "rigel"; did you mean "rigl"?'),
        (("compare", "snip", "synflow"), "holds no results yet"),
        (("compare", "snip", "synflow", "--suite", "quick"), "no seed in common"),
        (("export", "quik"), 'unknown suite "quik"; did you mean "quick"?'),
        (("export", "quick"), "no such folder of results (--runs names another)"),
        (("leaderboard", "--suite", "quick"), "no such folder of results (--runs names another)"),
        (("plan", "quick", "--seeds", "3-1"), "not a range of seeds from low to high: '3-1'"),
        (("plan", "quick", "--seeds", "one"), "not a list of seeds"),
        (("methods", "snipp"), 'did you mean "snip"?; --plugin FILE.py'),
        (("new-method", "snip"), "snip is taken (baselines/snip.py:"),
        (("export", "quick", "--format", "xls"), "argument --format: invalid choice"),
        (("plot", "quick"), "the following arguments are required: --output"),
        (("plot", "quick", "--output", "a.doc"), "a.doc ends in none of .pdf, .svg, .png"),
        (("plot", "quick", "--output", "a.pdf", "--kind", "rank"), "argument --kind: invalid"),
        (("run",), "name a suite, or say --claims"),
        (("run", "quick", "--claims"), "name a suite, or say --claims"),
        (("run", "--claims", "rigel"), 'unknown paper with claims "rigel"'),
        (("claims", "rigel", "--next"), 'unknown paper with claims "rigel"'),
        (("replay", "rigl"), "rigl: no program to replay"),
        (("replay", "ntt", "--programs", "lenet"), 'unknown program to replay "lenet"'),
        (
            ("run", "quick", "--runs", "a", "--runs", "b"),
            "this command takes one folder; leaderboard",
        ),
        (("frobnicate",), "invalid choice"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(call, arguments, says):
    code, out, err = call(*arguments)
    assert code == 2
    assert err.startswith("pai-bench: error: ")
    assert says in err
    assert err.count("\n") == 1
    assert out == ""


def test_a_missing_config_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["methods", "--config", "absent.yaml"]) == 2
    assert "name the file with --config" in capsys.readouterr().err


def test_settings_are_those_of_the_folder_or_else_our_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "quick"]) == 0
    (tmp_path / "benchmark.yaml").write_text("suites: {}\n")
    assert main(["plan", "quick"]) == 2
    assert "benchmark.yaml:1: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["methods", "networks", "plan", "leaderboard --suite quick", "claims", "--help"]
)
def test_commands_that_list_import_no_torch(command, tmp_path):
    code = (
        "import sys; from pai_bench.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pytorch_lightning', 'datasets', 'wandb'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    arguments = command.split() + ([] if command == "--help" else list(CONFIG))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"}
    subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, env=environment, check=True
    )


def test_every_command_has_help_with_an_example(capsys):
    for command in ("reproduce", "run", "plan", "leaderboard", "evidence", "methods", "show",
                    "data", "doctor", "bench", "compare", "export", "plot", "claims",
                    "evidence-report"):  # fmt: skip
        with pytest.raises(SystemExit) as done:
            main([command, "--help"])
        assert done.value.code == 0
        assert f"pai-bench {command}" in capsys.readouterr().out.partition("example:")[2]


def test_plan_counts_the_cells_and_trains_nothing(call, tmp_path):
    code, out, _ = call("plan", "quick", "--densities", "0.1", "--seeds", "1,2")
    assert code == 0
    assert "24 of 24 cells to run" in out
    assert "more than that: the searches of imp train too" in out
    assert not (tmp_path / "runs").exists()


def test_plan_counts_what_another_suite_has_as_done(call, stored):
    _, before, _ = call("plan", "quick", "--methods", "snip", "--densities", "0.1")
    stored.folder.rename(stored.folder.with_name("other"))
    _, after, _ = call("plan", "quick", "--methods", "snip", "--densities", "0.1")
    assert after == before
    assert " of 3 cells to run" in after
    assert "3 of 3 cells to run" not in after


def test_a_plan_without_searches_speaks_of_none(call):
    code, out, _ = call("plan", "quick", "--methods", "snip,random")
    assert code == 0
    assert "searches" not in out


def test_methods_as_json(call):
    code, out, _ = call("methods", "--json")
    known = {method["name"]: method for method in json.loads(out)}
    assert {"dense", "random", "magnitude", "snip", "ntk-sap"} <= set(known)
    assert known["ntk-sap"]["needs_labels"] is False
    assert known["snip"]["needs_labels"] is True
    assert known["snip"]["origin"].startswith("baselines/snip.py:")
    assert known["ntk-sap"]["hyper"]["epsilon"]["default"] == 0.01
    assert code == 0


@pytest.fixture
def stored(tmp_path, settings, methods):
    from pai_bench.experiment import grid

    store = Store(tmp_path / "runs", "quick")
    for cell in grid.cells(settings, methods, "quick", grid.Selection(("snip",), (0.1,), (1, 2))):
        accuracy = Accuracy(0.9 + cell.seed / 100, 0.95, 1)
        curves = {"test_accuracy": [0.9], "train_loss": [0.1], "test_loss": [0.2]}
        store.put(cell, Result("done", accuracy=accuracy, density=0.1, effective=0.09,
                               seconds={"total": 1.0}), curves)  # fmt: skip
    return store


def test_leaderboard_shows_what_is_stored_and_what_is_missing(call, stored):
    code, out, err = call("leaderboard", "--suite", "quick")
    assert (code, err) == (0, "")
    assert "91.50 ± 6.35" in out
    assert "not run yet" in out
    page = (stored.folder / "leaderboard.html").read_text()
    assert all(cell_id in page for cell_id in stored.ids())


def test_stored_cells_of_another_version_are_left_out_and_said(call, stored):
    from dataclasses import replace

    entry = stored.entries()[0]
    stored.put(replace(entry.cell, method_version=99, seed=7), entry.result, entry.curves())
    _, out, _ = call("leaderboard", "--suite", "quick")
    assert "1 stored cells of other versions" in out


def test_exported_tables_go_to_a_file_or_to_the_screen(call, stored, tmp_path):
    code, out, _ = call("export", "quick", "--format", "markdown")
    assert code == 0
    assert "| snip | 0.1 | 90 | 91.50 ± 6.35 | 2 |" in out
    code, out, err = call("export", "quick", "--format", "parquet", "--output", "table.parquet")
    assert (code, out) == (0, "")
    assert "table.parquet" in err
    assert (tmp_path / "table.parquet").read_bytes()[:4] == b"PAR1"
    code, *_ = call("export", "quick", "--output", "table.tex")
    assert (code, "tabular" in (tmp_path / "table.tex").read_text()) == (0, True)
    code, _, err = call("export", "quick", "--format", "parquet")
    assert code == 2
    assert "name a file with --output" in err


def test_a_figure_is_a_file_of_the_kind_that_its_name_says(call, stored, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = call("plot", "quick", "--output", "figure.svg", "--methods", "snip")
    assert (code, out) == (0, "")
    assert err.startswith("figure.svg: 3.25 × ")
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


def test_lines_with_commas_in_their_names_can_be_asked_for():
    from pai_bench.cli.parser import build_parser

    words = ["plot", "quick", "--output", "a.pdf", "--methods", "rigl (a=1, b=2),snip, set (c=3)"]
    assert build_parser().parse_args(words).methods == ("rigl (a=1, b=2)", "snip", "set (c=3)")


def test_two_methods_are_compared_wherever_both_have_results(call, stored, settings, methods):
    from pai_bench.experiment import grid

    for cell in grid.cells(settings, methods, "quick", grid.Selection(("grasp",), (0.1,), (1, 2))):
        stored.put(cell, Result("done", accuracy=Accuracy(0.9, 0.9, 1)), {})
    code, out, _ = call("compare", "snip", "grasp")
    assert code == 0
    assert "quick: snip − grasp" in out
    assert "+1.50" in out


def test_claims_are_listed_with_their_state_from_several_folders(call, stored):
    code, out, _ = call("claims", "ntk-sap", "--runs", "runs", "--runs", "elsewhere")
    assert code == 0
    assert "its cells have not run" in out
    assert "411 claims: 0 reproduced · 0 not reproduced · 0 inconclusive · 411 not run" in out


def test_results_of_several_folders_stand_on_one_board(call, stored, settings, methods, tmp_path):
    from pai_bench.experiment import grid

    (cell,) = grid.cells(settings, methods, "quick", grid.Selection(("grasp",), (0.1,), (1,)))
    Store(tmp_path / "other", "quick").put(cell, Result("done", accuracy=Accuracy(0.9, 0.9, 1)))
    changed = stored.entries()[0].cell
    Store(tmp_path / "other", "quick").put(changed, Result("done", accuracy=Accuracy(0.1, 0.1, 1)))
    both = ("--runs", "runs", "--runs", "other")
    code, out, err = call("leaderboard", *both)
    assert (code, err) == (0, "")
    assert "91.50 ± 6.35" in out
    assert "90.00" in out
    assert "1 cells have other numbers in a further folder" in out
    of_all = (tmp_path / "runs" / "leaderboard.html").read_text()
    assert cell.id in of_all
    assert "pai-bench leaderboard --runs runs --runs other" in of_all
    of_suite = (tmp_path / "runs" / "quick" / "leaderboard.html").read_text()
    assert "pai-bench leaderboard --suite quick --runs runs --runs other" in of_suite
    assert not list((tmp_path / "other").rglob("*.html"))
    assert "grasp,0.1" in call("export", "quick", *both)[1]
    assert "quick: snip − grasp" in call("compare", "snip", "grasp", *both)[1]
    assert cell.id in call("show", cell.id[:8], *both)[1]
    of_both = pai_bench.board("quick", ["runs", "other"])
    assert of_both.n.sum() == len(stored.ids()) + 1
    frame = pai_bench.load_results(["runs", "other"])
    assert frame.id.is_unique
    assert frame.set_index("id").accuracy[changed.id] > 0.8


def test_evidence_stands_beside_the_results_of_a_folder(call, stored, settings, methods):
    code, out, _ = call("compare", "snip", "grasp", "--suite", "quick")
    assert code == 2
    code, out, _ = call("compare", "synflow", "grasp", "--suite", "quick", "--evidence")
    assert code == 0
    assert "quick: synflow − grasp" in out


def test_a_folder_that_is_named_twice_is_read_once(call):
    kept = str(ROOT / "reproductions" / "ntk_sap" / "evidence")
    twice = ("--runs", kept, "--runs", kept, "--runs", f"{kept}/../evidence", "--evidence")
    once = call("export", "sanity", "--runs", kept)
    assert call("export", "sanity", *twice) == once
    assert "differ " not in call("leaderboard", "--suite", "sanity", "--runs", "new", *twice)[1]


def test_what_decides_claims_is_listed_with_its_time(call):
    code, out, _ = call("claims", "rigl", "--next", "--runs", "nothing")
    assert code == 0
    assert "rigl-cifar10" in out
    assert "pai-bench run --claims rigl --budget 1h" in out


def test_claims_as_json_hold_all_that_they_rest_on(call):
    code, out, _ = call("claims", "ntt", "--json")
    (paper,) = json.loads(out)
    assert code == 0
    assert sum(paper["states"].values()) == len(paper["claims"])
    (claim,) = [c for c in paper["claims"] if c["id"] == "mnist-mlp/Random/0.03"]
    drawn = {"scope": "local", "draw": "shuffled-magnitude"}
    assert claim["method"] == {"printed": "Random", "ours": {"random": drawn}, "name": "random"}
    assert claim["value"]["text"] == "93.78,93.15"
    assert claim["deviations"]
    assert "inside the tolerance" in claim["rule"]
    assert claim["command"].startswith("pai-bench run ntt-mnist --methods random") or claim["n"]
    assert paper["missing"]


def test_papers_and_the_benchmark_are_cited_as_citation_cff_has_it(call):
    import yaml

    code, out, _ = call("claims", "ntk-sap", "--bibtex")
    assert code == 0
    known = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f"title = {{{{{known['title']}}}}}" in out
    assert f"author = {{{{{known['authors'][0]['name']}}}}}" in out
    assert f"version = {{{known['version']}}}" in out
    assert "author = {Yite Wang and Dawei Li and Ruoyu Sun}" in out
    assert "booktitle = {ICLR 2023}" in out


def test_show_says_everything_about_a_cell_and_finds_damage(call, stored):
    cell_id = stored.ids()[0]
    code, out, _ = call("show", cell_id[:8])
    assert code == 0
    assert f"{cell_id} · snip · density 0.1 · seed" in out
    code, out, _ = call("show", cell_id, "--json")
    assert json.loads(out)["result"]["density"] == 0.1
    (stored.folder / cell_id / "curves.json").write_text("{}")
    code, _, err = call("show", cell_id)
    assert code == 2
    assert "altered since it was written" in err


@pytest.mark.parametrize(("network", "shown"), [("lenet-300-100", True), ("resnet-20", False)])
def test_show_counts_the_neurons_that_are_left(call, tmp_path, quick, settings, network, shown):
    from dataclasses import replace

    from pai_bench.sparsity.architecture import final_architecture
    from pai_bench.training import fit

    cell = quick(methods=("random",), densities=(0.002,), seeds=(1,), epochs=1)[0]
    small = replace(cell, network=network)
    outcome = fit.fit_cell(small, settings)
    store = Store(tmp_path / "runs", "quick")
    store.put(small, outcome.result, outcome.curves, outcome.masks)
    code, out, _ = call("show", small.id)
    assert code == 0
    assert ("neurons   " in out) is shown
    counted = store.get(small.id).result.architecture
    assert counted == (final_architecture(outcome.masks) if shown else None)
    if shown:
        assert re.search(r"neurons   \d+-\d+-\d+ left, inputs first · \d+ weights kept", out)
        assert "64-300-100 left" not in out


def test_evidence_is_the_store_without_masks(call, stored, tmp_path):
    code, _, _ = call("evidence", "quick", "kept")
    assert code == 0
    kept = Store(tmp_path / "kept", "quick")
    assert sorted(kept.ids()) == sorted(stored.ids())
    assert all(kept.verify(cell_id) == [] for cell_id in kept.ids())
    assert kept.entries()[0].result == stored.entries()[0].result


def test_data_verifies_the_built_in_digits(call):
    code, out, _ = call("data", "digits")
    assert code == 0
    assert "1,438 training and 359 test images" in out


def test_doctor_names_what_it_found(call, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    code, out, _ = call("doctor")
    assert code == 0
    for line in ("Python: 3.", "torch: 2.", "data digits: built in", "W&B: WANDB_MODE=offline"):
        assert line in out


def test_doctor_fails_for_a_mirror_that_is_not_there(call, monkeypatch):
    monkeypatch.setenv("PAI_BENCH_MIRROR", "nowhere")
    code, out, _ = call("doctor")
    assert code == 1
    assert "mirror: nowhere is no folder" in out


OWN = """
from torch import nn

def build(shape, classes):
    layers = [nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes)]
    layers[1].prunable = {first}
    return nn.Sequential(*layers)
"""


@pytest.mark.slow
def test_a_network_of_ones_own_is_ranked(call, tmp_path):
    (tmp_path / "mynets.py").write_text(OWN.format(first=False))
    options = ("--network", "mynets:build", "--set", "epochs=1", "--densities", "0.5")
    code, out, err = call(
        "run", "quick", "--methods", "dense,random", "--seeds", "1", "--jobs", "1", *options
    )
    assert code == 0, err
    folder = tmp_path / "runs" / "quick+network=mynets:build+epochs=1"
    store = Store(folder.parent, folder.name)
    (cell,) = [e for e in map(store.get, store.ids()) if e.cell.label == "random"]
    assert [layer.name for layer in cell.result.layers] == ["3.weight"]
    assert cell.result.density == 0.5
    code, out, err = call("leaderboard")
    assert code == 0
    assert "mynets:build" in out


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def build(shape, classes): return 1", "mynets:build"),
        ("def build(shape, classes): raise ValueError('no such thing')", "no such thing"),
        ("def make(shape, classes): ...", "build"),
        ("import nothing_of_the_kind", "nothing_of_the_kind"),
        ("from torch import nn\ndef build(s, c): return nn.Sequential(nn.ReLU())", "mynets:build"),
    ],
)
def test_a_network_that_cannot_be_built_stops_before_any_cell(call, tmp_path, code, says):
    import sys

    sys.modules.pop("mynets", None)
    (tmp_path / "mynets.py").write_text(code)
    done, _, err = call("run", "quick", "--network", "mynets:build", "--seeds", "1")
    assert done == 2
    assert err.startswith("pai-bench: error: network")
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_networks_and_data_sets_are_listed(call, settings):
    code, out, _ = call("networks", "--json")
    assert code == 0
    rows = {(row["name"], row["data"]): row for row in json.loads(out)}
    assert rows["resnet-20", "cifar10"]["prunable"] == 270_896
    assert rows["vgg-16-bn", "cifar100"]["prunable"] == 14_761_664
    code, out, _ = call("datasets", "--json")
    assert code == 0
    assert [row["name"] for row in json.loads(out)] == list(settings.data)
    for command in ("networks", "datasets"):
        code, out, _ = call(command)
        assert code == 0
        assert "cifar100" in out


@pytest.mark.slow
def test_a_new_method_is_written_and_ranked_against_all_by_one_command(call, tmp_path):
    code, out, _ = call("new-method", "my-method")
    assert code == 0
    assert "pai-bench run quick --plugin my_method.py" in out
    assert len((tmp_path / "my_method.py").read_text().splitlines()) < 20
    cut = ("--densities", "0.1", "--seeds", "1", "--set", "epochs=1", "--jobs", "1")
    code, out, err = call("run", "quick", "--plugin", "my_method.py", *cut)
    assert code == 0, err
    assert "my-method" in out
    assert "synflow" in out


@pytest.mark.parametrize(
    ("name", "says"),
    [("My Method", "is not a valid method name"), ("my-method", "exists already")],
)
def test_a_new_method_overwrites_nothing(call, tmp_path, name, says):
    (tmp_path / "my_method.py").write_text("mine")
    code, _, err = call("new-method", name)
    assert code == 2
    assert says in err
    assert (tmp_path / "my_method.py").read_text() == "mine"


def test_without_a_suite_one_page_holds_all_suites(call, stored):
    from dataclasses import replace

    other = Store(stored.folder.parent, "sanity")
    for entry in stored.entries():
        other.put(replace(entry.cell, sanity_check="invert"), entry.result, entry.curves())
    code, out, _ = call("leaderboard")
    assert code == 0
    assert "one file with all suites" in out
    page = (stored.folder.parent / "leaderboard.html").read_text()
    assert '"suite":"quick"' in page
    assert '"suite":"sanity"' in page
    assert all(f'"id":"{cell_id}"' in page for cell_id in [*stored.ids(), *other.ids()])


def python(code, folder, **variables):
    """Run our command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, check=False, timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled", **variables},
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_console_that_lacks_letters_shows_others(encoding, tmp_path, quick):
    store = Store(tmp_path / "runs", "quick")
    for cell in quick(methods=("snip",), densities=(0.1,), seeds=(1,)):
        store.put(cell, Result("failed", "caf\udce9 \u25c2"))
    code = "import sys; from pai_bench.cli.main import main; sys.exit(main(['leaderboard', "
    code += f"'--suite', 'quick', '--config', {str(ROOT / 'benchmark.yaml')!r}]))"
    done = python(code, tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "not run yet" in done.stdout.decode(encoding)


NOBODY = """
import os, pwd, sys
os.environ.pop('HOME', None)
def nobody(*_):
    raise KeyError('getpwuid(): uid not found')
pwd.getpwuid = nobody
import pai_bench
from pai_bench.cli.main import main
sys.exit(main(sys.argv[1:] or COMMAND))
"""


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "PAI_BENCH_CACHE", ""])
def test_doctor_without_a_home_folder_says_what_to_set(tmp_path, variable):
    environment = {"PAI_BENCH_CACHE": "", "XDG_CACHE_HOME": "", "PAI_BENCH_MIRROR": ""}
    if variable:
        environment[variable] = str(tmp_path)
    command = ["doctor", "--config", str(ROOT / "benchmark.yaml")]
    done = python(NOBODY.replace("COMMAND", repr(command)), tmp_path, **environment)
    assert b"Traceback" not in done.stdout + done.stderr
    unset = b"this user has no home folder" in done.stdout
    assert (unset, b"set PAI_BENCH_CACHE" in done.stdout) == (not variable, not variable)
    assert b"disk: " in done.stdout


def test_seeds_are_named_one_by_one_or_as_a_range(call):
    one_by_one = call("plan", "quick", "--methods", "snip", "--seeds", "2,3,4,9")
    assert call("plan", "quick", "--methods", "snip", "--seeds", "2-4,9") == one_by_one
    assert one_by_one[0] == 0


def test_the_list_of_methods_fits_into_a_narrow_terminal_and_one_is_told_in_full(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    _, listed, _ = call("methods")
    assert max(map(len, listed.splitlines())) <= 60
    assert "snip " in listed
    code, told, _ = call("methods", "rigl")
    assert code == 0
    assert "masks move in training" in told
    assert "delta_t=100 (int)" in told


@pytest.mark.parametrize(
    ("command", "whole"),
    [
        (
            "leaderboard --suite quick --evidence --wandb disabled",
            ["iterative-snip", "98.33 ± 0.69"],
        ),
        ("claims ntk-sap --evidence", ["spectrum-closest/SynFlow", "reproduced", "claimed"]),
        ("plan", ["rigl-imagenet-mobilenet", "time left"]),
        ("networks", ["lenet-300-100-ntt", "266,610"]),
        ("datasets", ["tiny-imagenet", "60,000 + 10,000"]),
    ],
)
def test_names_and_numbers_are_whole_in_80_columns(call, monkeypatch, command, whole):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = call(*command.split())
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(any(word in line for line in lines) for word in whole)
    assert not [line for line in lines if re.search(r"^\W*\w*…", line)]


def test_the_plan_of_all_suites_has_a_line_for_each(call, settings):
    code, out, _ = call("plan", "--seeds", "1")
    assert code == 0
    assert len(out.splitlines()) <= len(settings.suites) + 3
    assert all(
        any(line.startswith(suite) for line in out.splitlines()) for suite in settings.suites
    )


def test_data_goes_on_after_a_set_that_cannot_be_had(call, monkeypatch, tmp_path):
    monkeypatch.setenv("PAI_BENCH_MIRROR", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, err = call("data", "mnist", "digits")
    assert code == 2
    assert "digits   1,438 training and 359 test images" in " ".join(out.split("\n"))
    assert "1 of 2 data sets are not ready: mnist; the others are" in err
    assert call("data", "digits")[0] == 0


def test_the_doctor_tells_the_speed_of_the_machine_and_what_comes_next(call):
    _, out, _ = call("doctor")
    rates = re.findall(r"speed ([\w-]+): ([\d,.]+) networks an hour", out)
    assert {"quick", "ntk-sap-cifar10"} <= {suite for suite, _ in rates}
    assert "next: `make reproduce PAPER=ntk-sap`" in out


def test_the_doctor_does_without_the_client_of_wandb(call, monkeypatch):
    from pai_bench.cli import doctor

    found = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name == "wandb" else found(name))
    monkeypatch.setitem(sys.modules, "wandb", None)
    _, out, _ = call("doctor")
    assert "W&B: not installed" in out
