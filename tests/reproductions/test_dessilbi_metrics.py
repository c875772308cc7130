"""What is measured of dense networks trained by DessiLBI, on a result that is counted by hand."""

import pytest

from pai_bench.claims import metric_registry
from pai_bench.claims.metric_registry import MetricContext
from pai_bench.store.result import Result

MEASURED = {
    "accuracy": {"weights": 0.9, "projected": 0.8},
    "support": {"conv3": 2, "total": 40},
    "entered": {"conv3": {"0": 1, "7": 1, "never": 1}, "fc1": {"9": 3, "10": 2}},
    "large": {"conv3": 2, "fc1": 5},
    "norms": {"conv3": {"selected": [0.5, 4.0], "others": [0.0, 0.25]}},
    "pruned": {"conv3": {"50": [0.7, 2]}, "conv3+fc1": {"50": [0.6, 2, 11]}},
}


@pytest.mark.parametrize(
    ("metric", "row", "column", "expected"),
    [
        ("dessilbi-accuracy", "", "projected", 80.0),
        ("dessilbi-pruned", "", "50", 70.0),
        ("dessilbi-pruned-both", "", "50", 60.0),
        ("dessilbi-filters-left", "", "50", 2),
        ("dessilbi-weights-left", "", "50", 11),
        ("dessilbi-support", "", "total", 40),
        ("dessilbi-entered", "conv3", "7", 1),
        ("dessilbi-entered", "conv3", "8", 0),
        ("dessilbi-entered", "conv1", "8", None),
        ("dessilbi-last-entry", "conv3", "", 7),
        ("dessilbi-last-entry", "fc1", "", 10),
        ("dessilbi-last-entry", "conv1", "", None),
        ("dessilbi-norm", "", "least-selected", 0.5),
        ("dessilbi-norm", "", "largest-selected", 4.0),
        ("dessilbi-norm", "", "largest-others", 0.25),
        ("dessilbi-large-filters", "", "", 2),
        ("dessilbi-large-weights", "", "", 5),
    ],
)
def test_it_is_what_was_counted_by_hand(metric, row, column, expected):
    context = MetricContext(row=row, column=column)
    assert metric_registry.find(metric)(Result("done", measured=MEASURED), context) == expected


def test_filters_without_a_gamma_have_no_others():
    only = Result("done", measured={"norms": {"conv3": {"selected": [0.5, 4.0]}}})
    found = metric_registry.find("dessilbi-norm")(only, MetricContext(column="largest-others"))
    assert found is None
