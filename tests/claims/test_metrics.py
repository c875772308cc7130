"""Metrics: found by name in one file each, without torch, and what they say of results."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from pai_bench.claims import metric_registry, parser
from pai_bench.claims.metric_registry import MetricContext, available, find, measured
from pai_bench.claims.tolerance import Tolerance
from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError
from pai_bench.sparsity.perceptron import Architecture
from pai_bench.store.result import Accuracy, Flops, Result

FLOPS = Flops(inference_dense=100.0, inference=25.0, scoring=0.0, training=3 * 50.0 * 1000)
LEFT = Architecture((408, 100, 69, 10), 6309, 48390, 12618.0, 31914.75)
DONE = Result("done", accuracy=Accuracy(0.95, 0.96, 3), flops=FLOPS, architecture=LEFT)
MINE = """
from pai_bench import Tolerance, metric
from pai_bench.claims.metrics import accuracy as imported


@metric("layers", unit="layers", decimals=0, tolerance=Tolerance(points=1.5), aliases=("depth",))
def layers(result):
    '''Layers with a mask.'''
    return len(result.layers) or None
"""
CLAIMS = """
paper: some
authors: [Ann One]
year: 2020
sources: {table: {what: Table 1}}
suites: {quick: {deviations: []}}
lines: {SNIP: snip}
tables:
  one: {about: x, source: table, suite: quick, metric: METRIC, densities: "0.5", rows: {SNIP: 3}}
"""


@pytest.fixture
def root(tmp_path):
    """A project with a paper that has a metric of its own."""
    folder = tmp_path / "reproductions" / "some"
    folder.mkdir(parents=True)
    (folder / "metrics.py").write_text(MINE)
    (folder / "claims.yaml").write_text(CLAIMS.replace("METRIC", "layers"))
    return tmp_path


def values(result, **context):
    return {m.name: value for m, value in measured(result, MetricContext(**context)).items()}


def test_metrics_are_measured_by_hand_counted_values():
    assert values(DONE, images=1000) == {
        "accuracy": 95.0, "error": pytest.approx(5.0), "training-flops": pytest.approx(0.5),
        "inference-flops": 0.25, "compacted-inputs": 408, "compacted-first": 100,
        "compacted-second": 69, "compacted-sparsity": pytest.approx(1 - 6309 / 48390),
        "compacted-kflops": 12.618, "compacted-bytes": 31914.75, "inference-megaflops": 25e-6,
    }  # fmt: skip


def test_the_best_epoch_and_the_images_are_those_of_the_context():
    assert values(DONE, epoch="best")["accuracy"] == 96.0
    assert "training-flops" not in values(DONE)
    assert values(Result("failed", "why")) == {}


def test_listing_metrics_needs_no_torch():
    code = (
        "import sys; from pai_bench.claims.metric_registry import available; "
        "assert len(available()) >= 10; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("part", ["inputs", "first", "second", "sparsity", "kflops", "bytes"])
def test_former_names_are_read(part):
    assert find(f"left-{part}") is find(f"compacted-{part}")


def test_a_papers_metrics_file_is_all_that_a_metric_takes(root):
    metrics = available(root)
    ours = {each.name for each in metrics.values() if each.module == "pai_bench.claims.metrics"}
    assert {"accuracy", "error", "training-flops", "inference-flops"} <= ours
    assert [name for name in metrics if name not in ours] == ["layers"]
    found = metrics["layers"]
    assert (found.about, found.unit, found.shown(3.2)) == (
        "Layers with a mask.",
        "layers",
        "3 layers",
    )
    assert found.origin.endswith("some/metrics.py:6")
    assert found.tolerance == Tolerance(points=1.5)
    (claim,) = parser.load(root / "reproductions/some/claims.yaml", root).claims
    assert claim.metric is found
    assert find("depth", root) is found


@pytest.mark.parametrize(
    ("name", "says"),
    [("layer", 'unknown metric "layer"; did you mean "layers"?'), ("left-layers", "did you mean")],
)
def test_an_unknown_metric_is_one_line_with_file_line_and_key(root, name, says):
    path = root / "reproductions/some/claims.yaml"
    path.write_text(CLAIMS.replace("METRIC", name))
    with pytest.raises(BenchError) as caught:
        parser.load(path, root)
    assert str(caught.value).startswith(f"{path}:9: tables.one.metric: unknown metric")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_taken_and_a_file_that_breaks_are_one_line(root):
    path = root / "reproductions/some/metrics.py"
    available.cache_clear()
    path.write_text(MINE.replace('"layers", unit', '"error", unit'))
    with pytest.raises(
        BenchError, match=r'metrics\.py:6: the metric "error" is taken by .*metrics\.py'
    ):
        available(root)
    path.write_text("import nothing_of_this_name\n")
    with pytest.raises(
        BenchError, match=r"metrics\.py: metrics cannot be imported: ModuleNotFound"
    ):
        available(root)


def test_an_installed_package_adds_metrics_and_one_that_breaks_is_passed_over(
    root, tmp_path, monkeypatch, capsys
):
    (tmp_path / "their_metrics.py").write_text(MINE.replace('"layers", unit', '"theirs", unit'))
    (tmp_path / "their_broken.py").write_text("1 / 0\n")
    (tmp_path / "their_taken.py").write_text(MINE.replace('"layers", unit', '"error", unit'))
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        EntryPoint(name, f"their_{name}", metric_registry.GROUP)
        for name in ("broken", "taken", "metrics")
    ]
    monkeypatch.setattr(import_utils, "entry_points", lambda group: points)
    available.cache_clear()
    assert "theirs" in available(root)
    said = capsys.readouterr().err
    assert "their_broken: metrics cannot be imported: ZeroDivisionError" in said
    assert 'the metric "error" is taken by' in said
    available.cache_clear()


@pytest.mark.parametrize(("printed", "digits"), [
    ("7.737,9.652", 4), (".966,1.223", 4), ("31914", 1), ("~87.4", 2), ("<75", 1), ("", 1),
])  # fmt: skip
def test_a_value_is_shown_with_one_digit_more_than_the_first_that_was_printed(printed, digits):
    assert find("transfer-loss").digits(printed) == digits
