"""Somebody else's package, installed into an environment of its own: ranked, or told what is wrong.

The environment sees the packages of the one that runs the tests and adds its own to them, so that
nothing is downloaded.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = Path(__file__).parents[1] / "thirdparty"
pytestmark = pytest.mark.slow
OURS = ("checkerboard", "gradient-power", "inherits")


SESSION = """
import contextlib, io, json, sys
from pai_bench.cli.main import main

answers = []
for arguments in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        with contextlib.redirect_stderr(io.StringIO()) as err:
            code = main(arguments)
    answers.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory, environment):
    """Run commands where a package is installed, in one process: exit code, output, errors."""

    def run(package, commands):
        folder = tmp_path_factory.mktemp(package)
        shutil.copytree(PACKAGES / package, folder / package)
        python = environment(folder / package, see=ROOT)
        done = subprocess.run(
            [python, "-c", SESSION], cwd=folder, input=json.dumps(list(commands)),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def good(session):
    """What each of three commands says of a package in which all is well, by the command's name."""
    choice = ("--methods", "dense,magnitude,checkerboard,gradient-power", "--seeds", "1")
    other = ("--network", "narrow", "--data", "bars", "--densities", "0.5", "--set", "epochs=3")
    commands = {
        "methods": ("methods", "--json"),
        "run": ("run", "quick", *choice, *other, "--jobs", "1", "--wandb", "disabled"),
        **{f"check {name}": ("check", name) for name in OURS},
    }
    return dict(zip(commands, session("good", commands.values()), strict=True))


def test_it_is_listed_with_what_it_declares(good):
    code, out, err = good["methods"]
    assert code == 0, err
    found = {method["name"]: method for method in json.loads(out)}
    assert found["gradient-power"]["version"] == 2
    assert found["gradient-power"]["paper"] == "Sparse Ideas (2026)"
    assert found["checkerboard"]["needs_data"] is False
    assert found["inherits"]["version"] == 6
    assert found["inherits"]["needs_labels"] is False
    assert found["inherits"]["hyper"]["power"]["default"] == 2.0
    assert found["inherits"]["hyper"]["rounds"]["default"] == 1
    assert "sparse_ideas/methods.py:" in found["checkerboard"]["origin"]


def test_its_methods_network_and_data_set_are_ranked_by_one_command(good):
    code, out, err = good["run"]
    assert code == 0, out + err
    for line in ("magnitude", "checkerboard", "gradient-power"):
        assert line in out
    assert "failed" not in out


@pytest.mark.parametrize("name", OURS)
def test_its_methods_conform(good, name):
    code, out, err = good[f"check {name}"]
    assert code == 0, out + err


def test_a_broken_package_gives_one_clear_line_each_and_stops_nothing_else(session):
    names = "magnitude,raises-on-import,no-method,wrong-shapes,writes-nan"
    cut = ("--densities", "0.5", "--seeds", "1", "--set", "epochs=1", "--wandb", "disabled")
    command = ("run", "quick", "--methods", names, *cut, "--jobs", "1")
    ((code, out, err),) = session("broken", [command])
    assert code == 1
    assert "Traceback" not in out + err
    said = err.splitlines()
    assert any("no module broken_ideas.absent" in line for line in said)
    assert any('the method "snip" is taken by baselines/snip.py' in line for line in said)
    assert any("syntax.py:3: cannot be read as Python" in line for line in said)
    assert any("inherits.py:3: no module broken_ideas.gone" in line for line in said)
    flat = " ".join(out.split())
    assert "RuntimeError: the licence server does not answer" in flat
    assert "NoMethod must be a subclass of SparseClassifier" in flat
    assert "WrongShapes: scores of fc1.weight have shape (300,), the weight has (300, 64)" in flat
    assert "the scores of fc1.weight are not finite" in flat
    assert "4 failed" in out
    assert "magnitude" in out
