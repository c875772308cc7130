"""Densities by layer are shares of the layer's own weights, 0 among them."""

from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="figures need matplotlib")

from pai_bench.core.errors import BenchError
from pai_bench.leaderboard.figures import layers
from pai_bench.leaderboard.figures.selection import selected


def test_a_layer_of_which_nothing_is_kept_is_drawn_at_0(made, styles):
    (axes,) = layers.draw(selected(made, (), (0.1,)), styles, 1).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn["snip"] == pytest.approx([0.1, 0.2])
    assert drawn["magnitude"] == pytest.approx([0, 0.2])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["fc1", "fc2"]
    assert axes.transData.transform((0, 0))[1] == pytest.approx(axes.transAxes.transform((0, 0))[1])


def test_one_density_is_to_be_named_and_results_must_have_layers(made, styles):
    with pytest.raises(BenchError, match=r"name it with --densities: 0\.01, 0\.1$"):
        layers.draw(made, styles, 1)
    with pytest.raises(BenchError, match="no densities by layer"):
        layers.draw(replace(made, rows=made.rows[:1]), styles, 1)
