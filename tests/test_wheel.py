"""What is installed is one package that works anywhere; so is a checkout that is not installed."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pai_bench.core.project import VERSION

ROOT = Path(__file__).parents[1]
PLUGIN = """
from helper import Base
from pai_bench import register


@register("mine")
class Mine(Base):
    '''Keep what a helper scores.'''
"""
HELPER = """
from pai_bench import PruneAtInit, prunable


class Base(PruneAtInit):
    needs_data = needs_labels = False

    def scores(self, network, batches):
        return {name: weight.detach().abs() for name, weight in prunable(network)}
"""


def quietly(*command, cwd, **variables):
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False,
        env={**clean(), **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean():
    """The surroundings, without what would show this checkout to the process."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH")}


def copied(folder):
    """Copy the checkout, as its files are, without results and caches."""
    names = (".*", "evidence", "__pycache__", "*.egg-info", "build", "dist", "runs", "tests")
    left_out = shutil.ignore_patterns(*names)
    return shutil.copytree(ROOT, folder / "checkout", symlinks=True, ignore=left_out)


def built(checkout, kind, folder):
    """Build with setuptools itself: no network, and no tool that may be missing."""
    code = f"from setuptools import build_meta as b; print(b.build_{kind}({str(folder)!r}))"
    return folder / quietly(sys.executable, "-c", code, cwd=checkout).split()[-1]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheel of a checkout, and that of the source distribution of the checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    checkout = copied(folder)
    for name in ("one", "two", "sdist"):
        (folder / name).mkdir()
    one = built(checkout, "wheel", folder / "one")
    with tarfile.open(built(checkout, "sdist", folder / "sdist")) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return one, built(unpacked, "wheel", folder / "two")


@pytest.fixture(scope="module")
def installed(wheels, environment, tmp_path_factory):
    """Run the installed program in a folder of its own: installed("plan", "quick")."""
    python = environment(wheels[0])
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "plugin.py").write_text(PLUGIN)
    (folder / "helper.py").write_text(HELPER)

    def run(*arguments):
        # pip wrote the path of its own python into the first line of the script.
        script = python.with_name("pai-bench")
        return quietly(python, script, *arguments, cwd=folder, WANDB_MODE="disabled")

    run.python, run.folder = python, folder
    return run


@pytest.mark.slow
def test_both_wheels_hold_the_same_one_package(wheels):
    first, second = (zipfile.ZipFile(wheel) for wheel in wheels)
    names = {name for name in first.namelist() if ".dist-info/" not in name}
    assert names == {name for name in second.namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"pai_bench"}
    assert all(first.read(name) == second.read(name) for name in names)


@pytest.mark.slow
def test_the_wheel_holds_what_a_checkout_reads(wheels):
    names = set(zipfile.ZipFile(wheels[0]).namelist())
    expected = ["benchmark.yaml", "baselines", "reproductions", "leaderboard/web"]
    for top in (ROOT / "pai_bench" / name for name in expected):
        files = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        for path in files:
            inside = path.relative_to(ROOT).as_posix()
            if not {"evidence", "__pycache__"} & set(path.parts):
                assert inside in names
    assert not [name for name in names if "/evidence/" in name]


@pytest.mark.slow
def test_it_plans_runs_and_judges_from_any_folder(installed):
    assert "snip" in installed("plan", "quick")
    narrow = ("--densities", "0.5", "--seeds", "1", "--set", "epochs=2", "--jobs", "1")
    out = installed("run", "quick", "--methods", "snip,mine", *narrow, "--plugin", "plugin.py")
    assert "mine" in out
    assert "failed" not in out
    assert "ntk-sap" in installed("claims")
    assert f"version = {{{VERSION}}}" in installed("claims", "--bibtex")
    assert "baselines/snip.py:" in installed("methods", "snip")


@pytest.mark.slow
def test_every_module_is_imported_under_one_name(installed):
    code = (
        "import sys; from torch import nn; from pai_bench import prune\n"
        "assert prune(nn.Linear(10, 10), 'random', 0.25, []).kept == 25\n"
        "from pai_bench.registry import methods\n"
        "for name in methods.available(): methods.load(name)\n"
        "files = [m.__file__ for n, m in sys.modules.items() if 'pai_bench' in (getattr(m,\n"
        "         '__file__', None) or '')]\n"
        "assert len(files) == len(set(files)) > 50 and all('site-packages' in f for f in files)\n"
        "import importlib.util\n"
        "assert not any(map(importlib.util.find_spec, ('baselines', 'reproductions')))\n"
    )
    quietly(installed.python, "-c", code, cwd=installed.folder)


@pytest.mark.slow
def test_reports_are_for_checkouts(installed):
    command = [installed.python, "-m", "pai_bench", "evidence-report"]
    how = {"capture_output": True, "text": True, "check": False, "env": clean()}
    done = subprocess.run(command, cwd=installed.folder, **how)
    assert done.returncode == 2
    assert "no evidence; reports are written in a checkout of PaI-Bench" in done.stderr


@pytest.mark.slow
def test_a_checkout_works_where_only_the_dependencies_are_installed(tmp_path, environment):
    checkout, python = copied(tmp_path), environment()
    code = "from importlib.metadata import version; version('pai-bench')"
    # Not here: a checkout that was installed from holds metadata too.
    how = {"capture_output": True, "check": False, "env": clean(), "cwd": tmp_path}
    done = subprocess.run([python, "-c", code], **how)
    assert b"PackageNotFoundError" in done.stderr
    cite = quietly(python, "-m", "pai_bench", "claims", "--bibtex", cwd=checkout)
    assert f"version = {{{VERSION}}}" in cite
    assert "snip" in quietly(python, "-m", "pai_bench", "plan", "quick", cwd=checkout)
    code = "from pai_bench.core import environment as e; print(e.packages()['pai-bench'])"
    assert quietly(python, "-c", code, cwd=checkout).strip() == VERSION


def test_the_version_is_the_same_wherever_it_stands():
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
