"""The diagram has each rank where it belongs, and a bar over those that do not differ."""

from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="figures need matplotlib")

from pai_bench.core.errors import BenchError
from pai_bench.leaderboard.critical_difference import rank_test
from pai_bench.leaderboard.figures import ranks


def test_every_line_starts_at_its_rank_and_is_named_with_it(made, styles):
    (axes,) = ranks.draw(made, styles, 1).axes
    texts = [text.get_text() for text in axes.texts]
    named = list(zip(texts[-6::2], texts[-5::2], strict=True))
    assert named == [("1.00", "snip"), ("2.00", "synflow"), ("3.00", "magnitude")]
    critical = rank_test([1, 2, 3], 6).critical  # 2.343 * sqrt(3 * 4 / (6 * 6))
    assert critical == pytest.approx(1.353, abs=1e-3)
    assert f"CD = {critical:.2f}" in texts
    starts = {line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 3}
    assert starts == {1.0, 2.0, 3.0}


def test_bars_join_ranks_nearer_than_the_critical_difference(made, styles):
    (axes,) = ranks.draw(made, styles, 2).axes
    bars = [line.get_xdata() for line in axes.get_lines() if line.get_linewidth() > 2]
    assert [[round(end) for end in bar] for bar in bars] == [[1, 2], [2, 3]]


def test_nothing_in_common_is_one_line(made, styles):
    alone = replace(made, rows=tuple(row for row in made.rows if row.label == "snip"))
    with pytest.raises(BenchError, match="no density and seed at which two methods or more"):
        ranks.draw(alone, styles, 1)


@pytest.mark.parametrize("columns", [1, 2])
def test_long_names_are_wrapped_and_stay_inside(made, styles, columns):
    long = " (begin=0.25, end=0.4166666666666667, frequency=500, scope=erk)"
    rows = tuple(replace(row, label=row.label + long) for row in made.rows)
    named = {label + long: style for label, style in styles.items()}
    figure = ranks.draw(replace(made, rows=rows), named, columns)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    texts = [text.get_text() for text in figure.axes[0].texts if "snip" in text.get_text()]
    assert "end=0.417," in texts[0]
