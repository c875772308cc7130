"""A paper is one folder: put beside the others, it is run, judged and shown, with no other edit."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = {
    "__init__.py": "",
    "method.py": '''
from pai_bench import PruneAtInit, prunable, register


@register("newest")
class Newest(PruneAtInit):
    """Keep what is last."""

    paper = "new"
    needs_data = False

    def scores(self, network, batches):
        return {name: weight.detach().abs() for name, weight in prunable(network)}
''',
    "metrics.py": '''
from pai_bench import Tolerance, metric


@metric("kept-weights", unit="weights", decimals=1, tolerance=Tolerance(share=0.1))
def kept_weights(result):
    """Weights that are kept."""
    return sum(layer.kept_end for layer in result.layers) or None
''',
    "suites.yaml": """
recipes:
  new-recipe: {epochs: 1, batch_size: 64, lr: 0.1}
suites:
  new-quick:
    about: Digits.
    network: lenet-300-100
    data: digits
    recipe: new-recipe
    densities: [0.1]
    seeds: [1, 2, 3]
    methods: [random, newest]
papers:
  new:
    title: A new paper
    venue: Nowhere 2030
    url: https://example.org
    methods: [newest]
    suites: {quick: new-quick}
    protocol: quick
""",
    "claims.yaml": """
paper: new
authors: [Ann One]
year: 2030
sources: {table: {what: Table 1}}
suites: {new-quick: {deviations: [digits]}}
lines: {Newest: newest}
tables:
  kept: {about: weights, source: table, suite: new-quick, metric: kept-weights, densities: "0.1",
         rows: {Newest: 5000}}
""",
}
FILL = """
from pathlib import Path
from pai_bench.config import loader
from pai_bench.experiment import grid
from pai_bench.registry import methods
from pai_bench.store.result import Accuracy, Layer, Result
from pai_bench.store.store import Store

known = methods.available()
settings = loader.load(Path("benchmark.yaml"), known)
for cell in grid.cells(settings, known, "new-quick"):
    layers = (Layer("fc1", (100, 500), 50000, 5000, 5000 + cell.seed, 5000),)
    result = Result("done", accuracy=Accuracy(0.9, 0.9, 1), density=0.1, layers=layers)
    Store(Path("runs"), "new-quick").put(cell, result, {"test_accuracy": [0.9]})
"""


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Run pai-bench in a copy of the project that has one folder more; and that copy."""
    project = tmp_path_factory.mktemp("project")
    left_out = shutil.ignore_patterns("evidence", "__pycache__")
    for name in ("pai_bench", "baselines", "reproductions"):
        shutil.copytree(ROOT / name, project / name, symlinks=True, ignore=left_out)
    shutil.copy(ROOT / "benchmark.yaml", project)
    for name, text in FOLDER.items():
        (project / "reproductions" / "new").mkdir(exist_ok=True)
        (project / "reproductions" / "new" / name).write_text(text)

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-c", FILL)
    return lambda *arguments: run("-m", "pai_bench", *arguments), project


def test_its_suite_is_planned(call):
    assert "6 cells" in " ".join(call[0]("plan", "--paper", "new").split()).replace("6 of 6", "6")


def test_its_claim_is_judged_by_its_metric(call):
    (paper,) = json.loads(call[0]("claims", "new", "--json"))
    (claim,) = paper["claims"]
    assert (claim["metric"], claim["unit"]) == ("kept-weights", "weights")
    assert claim["state"] == "reproduced"
    assert claim["measured"]["ours"]["mean"] == 5002
    assert claim["measured"]["tolerance"] == [-500.5, 500.5]
    assert "kept-weights (weights)" in call[0]("claims", "new")


def test_its_metric_is_shown_of_a_cell_and_exported(call):
    run, project = call
    cell = next(path.name for path in (project / "runs" / "new-quick").iterdir())
    assert "kept-weights 500" in run("show", cell)
    assert json.loads(run("show", cell, "--json"))["metrics"]["kept-weights"] > 5000
    head, *rows = run("export", "new-quick").splitlines()
    assert "metric.kept-weights" in head.split(",")
    assert "5002.0" in rows[0].split(",")


def test_its_page_holds_suite_claim_and_metric(call):
    run, project = call
    run("leaderboard", "--suite", "new-quick")
    text = (project / "runs" / "new-quick" / "leaderboard.html").read_text()
    assert '"kept-weights":5001.0' in text
    assert '"about":"Weights that are kept."' in text
    assert '"metric":"kept-weights"' in text


def test_its_results_are_rows_of_a_data_frame(call, tmp_path):
    _, project = call
    code = (
        "import pai_bench; frame = pai_bench.load_results('runs'); "
        "print(frame[frame.method == 'newest']['metric.kept-weights'].mean())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "5002.0"
