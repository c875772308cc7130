"""A folder where what the documentation shows can be run, and is fast."""

import re
import shutil
from pathlib import Path

import pytest

from pai_bench.launch.events import Started
from pai_bench.launch.local import Local
from pai_bench.launch.run_bundle import run_bundle

ROOT = Path(__file__).parents[2]


def launch_here(self, request, jobs):
    """Run bundles in this process, in place of workers."""
    for bundle in request.bundles:
        yield Started(bundle)
        events = []
        run_bundle(request, bundle, request.hardware, events.append)
        yield from events


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to run commands in: its benchmark.yaml trains on digits for one epoch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Local, "launch", launch_here)
    settings = (ROOT / "benchmark.yaml").read_text()
    short, changes = re.subn(r"(  digits-20:[^\n]*\n    epochs:) 20\b", r"\1 1", settings)
    assert changes == 1
    (tmp_path / "benchmark.yaml").write_text(short)
    for paper in (ROOT / "reproductions").glob("*/suites.yaml"):
        target = tmp_path / "reproductions" / paper.parent.name
        target.mkdir(parents=True)
        shutil.copy(paper, target)
    return tmp_path
