"""A board with known numbers, and the settings that figures are drawn with."""

import pytest

from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.figures.line_styles import line_styles
from pai_bench.store.result import Accuracy, Flops, Layer, Result
from pai_bench.store.store import Store

LAST = {"dense": 0.98, "snip": 0.96, "magnitude": 0.80, "synflow": 0.90}


@pytest.fixture
def store(tmp_path, quick):
    """Four methods at two densities and three seeds; magnitude keeps nothing of its first layer."""
    cells = quick(methods=tuple(LAST), densities=(0.1, 0.01), seeds=(1, 2, 3))
    store = Store(tmp_path / "runs", "quick")
    for cell in cells:
        last = LAST[cell.method] + cell.seed / 1000 - (cell.density == 0.01) * 0.3
        first = 0 if cell.method == "magnitude" else 20
        layers = (
            Layer("fc1.weight", (10, 20), 200, first, first, first),
            Layer("fc2.weight", (5, 10), 50, 10, 10, 10),
        )
        flops = Flops(100.0, 100 * cell.density, 1.0, 1e6 * cell.density)
        result = Result(
            "done", accuracy=Accuracy(last, last, 1), flops=flops, density=cell.density,
            layers=layers,
        )  # fmt: skip
        store.put(cell, result)
    return store


@pytest.fixture
def made(store, quick):
    cells = quick(methods=tuple(LAST), densities=(0.1, 0.01), seeds=(1, 2, 3))
    return board(store, "quick", cells, ())


@pytest.fixture
def styles(made):
    return line_styles(row.label for row in made.rows)


@pytest.fixture(autouse=True)
def fonts():
    """What figures are drawn with."""
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    from pai_bench.leaderboard.figures import paper_figure

    with paper_figure.settings():
        yield
