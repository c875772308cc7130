"""What is drawn is what the board holds."""

from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="figures need matplotlib")

from pai_bench.claims.statistics import estimate
from pai_bench.core.errors import BenchError
from pai_bench.leaderboard.figures import accuracy
from pai_bench.leaderboard.figures.axes import accuracy_axis
from pai_bench.leaderboard.figures.paper_figure import PaperFigure


def lines(figure):
    (axes,) = figure.axes
    return {line.get_label(): line for line in axes.get_lines()}


def test_each_method_is_a_line_of_means_and_dense_a_level(made, styles):
    drawn = lines(accuracy.over_density(made, styles, 1))
    assert set(drawn) == {"dense", "snip", "magnitude", "synflow"}
    assert list(drawn["snip"].get_xdata()) == [0.1, 0.01]
    assert drawn["snip"].get_ydata() == pytest.approx([96.2, 66.2])
    assert list(drawn["dense"].get_ydata()) == pytest.approx([98.2, 98.2])


def test_bands_are_intervals_within_what_is_possible(made, styles):
    rows = [
        replace(row, accuracy=estimate([0.99, 0.5])) if row.label == "snip" else row
        for row in made.rows
    ]
    figure = accuracy.over_density(replace(made, rows=tuple(rows)), styles, 1)
    (axes,) = figure.axes
    # in the order of the board
    heights = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
    of_magnitude, of_snip = heights[:2]
    assert (min(of_snip), max(of_snip)) == (0, 100)
    (row,) = (r for r in rows if r.label == "magnitude" and r.density == 0.1)
    assert max(of_magnitude) == pytest.approx(100 * row.accuracy.high)


def test_errors_far_apart_stand_on_a_log_axis_and_near_ones_on_a_plain_one():
    places = []
    for means in ([60, 97, 98.5], [93, 94, 95]):
        axes = PaperFigure().add_subplot()
        accuracy_axis(axes, means, "test")
        low, high = axes.get_ylim()
        assert low < min(means) < max(means) < high < 100
        drawn = axes.transData.transform([(0, mean) for mean in means])[:, 1]
        places.append((drawn[2] - drawn[1]) / (drawn[2] - drawn[0]))
    assert places == pytest.approx([0.211, 0.5], abs=1e-3)  # log(3 / 1.5) / log(40 / 1.5)


def test_flops_are_those_of_training(made, styles):
    (axes,) = accuracy.over_flops(made, styles, 1).axes
    (snip,) = (c for c in axes.containers if c.get_label() == "snip")
    assert list(snip.lines[0].get_xdata()) == pytest.approx([1e5, 1e4])
    assert axes.get_xscale() == "log"


def test_a_board_without_what_is_drawn_is_one_line(made, styles):
    none = [replace(row, accuracy=None, training_flops=None) for row in made.rows]
    for draw, says in (
        (accuracy.over_density, "no result of a pruned network"),
        (accuracy.over_flops, "hold no FLOPs of training"),
    ):
        with pytest.raises(BenchError, match=says):
            draw(replace(made, rows=tuple(none)), styles, 1)
