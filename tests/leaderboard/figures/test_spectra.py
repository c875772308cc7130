"""Spectra are means over seeds on a log axis, beside the dense network's."""

import pytest

pytest.importorskip("matplotlib", reason="figures need matplotlib")

from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.leaderboard.figures.drawing import Request, drawn
from pai_bench.store import spectra
from pai_bench.store.result import Result, TangentSpectrum


@pytest.fixture
def runs(tmp_path, settings, methods):
    """SNIP has a tenth of the dense network's eigenvalues, twice that at the second seed."""
    chosen = grid.Selection(("snip",), (0.1, 0.01), (1, 2))
    for cell in grid.cells(settings, methods, "quick", chosen):
        own = tuple(cell.seed * value for value in (10.0, 1.0, 0.0))
        found = Result("spectrum", spectrum=TangentSpectrum(own, (100.0, 10.0, 1.0), 1))
        spectra.write(tmp_path, "quick", cell, found)
    return tmp_path


def test_lines_are_geometric_means_and_a_second_panel_divides_them(runs, settings, methods):
    request = Request("quick", "spectra", 2, densities=(0.1,))
    left, right = drawn(request, settings, methods, [runs]).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in left.get_lines()}
    assert lines["dense"] == pytest.approx([100, 10, 1])
    assert lines["snip"][:2] == pytest.approx([10 * 2**0.5, 2**0.5])
    assert 0 < lines["snip"][2] < 1e-10
    relative = next(line for line in right.get_lines() if line.get_label() == "snip")
    assert list(relative.get_ydata())[:2] == pytest.approx([2**0.5 / 10] * 2)


def test_one_density_is_named_and_what_to_do_without_spectra(runs, settings, methods):
    with pytest.raises(BenchError, match=r"name it with --densities: 0\.01, 0\.1$"):
        drawn(Request("quick", "spectra"), settings, methods, [runs])
    with pytest.raises(BenchError, match="`pai-bench spectrum mnist` measures them"):
        drawn(Request("mnist", "spectra"), settings, methods, [runs])
