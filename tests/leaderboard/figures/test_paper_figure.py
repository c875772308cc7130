"""Files have the size that was asked for, fonts that publishers take, and no dates."""

import re
from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="figures need matplotlib")

from pai_bench.leaderboard.figures import accuracy
from pai_bench.leaderboard.figures.kinds import COLUMNS, FORMATS
from pai_bench.leaderboard.figures.paper_figure import WIDTHS


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_board_is_the_same_file(made, styles, form):
    one, other = (accuracy.over_density(made, styles, 1).content(form) for _ in range(2))
    assert one == other
    assert not re.search(rb"CreationDate|<dc:date>|tIME|/Subtype /Type3", one)
    assert (b"/FontFile2" in one) == (form == "pdf")  # TrueType


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("more", ["", f" (end={5 / 12}, frequency=500, scope=erk, momentum=0.9)"])
def test_names_stand_below_the_data_and_inside_the_figure(made, styles, columns, more):
    made = replace(made, rows=tuple(replace(row, label=row.label + more) for row in made.rows))
    styles = {label + more: style for label, style in styles.items()}
    figure = accuracy.over_density(made, styles, columns)
    figure.draw_without_rendering()
    (axes,), (legend,) = figure.axes, figure.legends
    assert figure.get_size_inches()[0] == WIDTHS[columns]
    assert legend.get_window_extent().y1 < axes.get_tightbbox().y0
    assert legend.get_window_extent().x0 >= 0
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_a_notebook_shows_it(made, styles):
    assert accuracy.over_density(made, styles, 1)._repr_png_().startswith(b"\x89PNG")
