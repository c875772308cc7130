"""Somebody else's package, installed into an environment of its own: ranked, or told what is wrong.

The environment sees the packages of the one that runs the tests and adds its own to them, so that
nothing is downloaded.
"""

import json
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = Path(__file__).parents[1] / "thirdparty"
pytestmark = pytest.mark.slow


def environment(folder, package):
    """Make an environment with `package` installed; return its python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "env" / "lib" / name / "site-packages"
    paths = [sysconfig.get_path("purelib"), *site.getsitepackages(), str(ROOT)]
    (packages / "ours.pth").write_text("\n".join(dict.fromkeys(paths)) + "\n")
    shutil.copytree(PACKAGES / package, folder / package)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    to = ["--no-build-isolation", "--target", packages, folder / package]
    subprocess.run([*install, *to], check=True, capture_output=True, text=True)
    return python


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Run pai-bench in the environment of a package: (exit code, output, errors)."""
    made = {}

    def run(package, *arguments):
        if package not in made:
            folder = tmp_path_factory.mktemp(package)
            made[package] = folder, environment(folder, package)
        folder, python = made[package]
        command = [python, "-m", "pai_bench", *arguments, "--config", ROOT / "benchmark.yaml"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_it_is_listed_with_what_it_declares(call):
    code, out, err = call("good", "methods", "--json")
    assert code == 0, err
    found = {method["name"]: method for method in json.loads(out)}
    assert found["gradient-power"]["version"] == 2
    assert found["gradient-power"]["paper"] == "Sparse Ideas (2026)"
    assert found["checkerboard"]["needs_data"] is False
    assert "sparse_ideas/methods.py:" in found["checkerboard"]["origin"]


def test_its_methods_network_and_data_set_are_ranked_by_one_command(call):
    choice = ("--methods", "dense,magnitude,checkerboard,gradient-power", "--seeds", "1")
    other = ("--network", "narrow", "--data", "bars", "--densities", "0.5", "--set", "epochs=3")
    code, out, err = call("good", "run", "quick", *choice, *other, "--wandb", "disabled")
    assert code == 0, out + err
    for line in ("magnitude", "checkerboard", "gradient-power"):
        assert line in out
    assert "failed" not in out


def test_its_methods_conform(call):
    for name in ("checkerboard", "gradient-power"):
        code, out, err = call("good", "check", name)
        assert code == 0, out + err


def test_a_broken_package_gives_one_clear_line_each_and_stops_nothing_else(call):
    names = "magnitude,raises-on-import,no-method,wrong-shapes,writes-nan"
    cut = ("--densities", "0.5", "--seeds", "1", "--set", "epochs=1", "--wandb", "disabled")
    code, out, err = call("broken", "run", "quick", "--methods", names, *cut)
    assert code == 1
    assert "Traceback" not in out + err
    said = err.splitlines()
    assert any("no module broken_ideas.absent" in line for line in said)
    assert any('the name "snip" is taken by baselines/snip.py' in line for line in said)
    assert any("syntax.py:3: cannot be read as Python" in line for line in said)
    flat = " ".join(out.split())
    assert "RuntimeError: the licence server does not answer" in flat
    assert "NoMethod must be a subclass of SparseClassifier" in flat
    assert "WrongShapes: scores of fc1.weight have shape (300,), the weight has (300, 64)" in flat
    assert "the scores of fc1.weight are not finite" in flat
    assert "4 failed" in out
    assert "magnitude" in out
