"""Tables in terminals of any width."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from pai_bench.core.tables import FOLDED, print_fitting


def printed(width, name="snip", least_needed=("sparsity", "effective")):
    table = Table()
    table.add_column("method", overflow="fold")
    for heading in ("density", "sparsity", "accuracy", "effective"):
        table.add_column(heading, no_wrap=True)
    table.add_row(name, "0.1", "90 %", "97.21", "0.0998")
    console = Console(file=io.StringIO(), width=width)
    print_fitting(console, table, least_needed)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(80, ()), (54, ()), (53, ("sparsity",)), (42, ("sparsity", "effective"))],
)
def test_columns_are_left_out_in_their_order_until_the_others_fit(width, left_out):
    headings, _, said = printed(width).partition("left out, ")
    for heading in ("density", "sparsity", "accuracy", "effective"):
        assert (heading in headings) != (heading in left_out)
    assert all(cell in headings for cell in ("snip", "0.1", "97.21"))
    assert "…" not in headings
    told = f"for {width} columns are too few: {', '.join(left_out)}" if left_out else ""
    assert " ".join(said.split()) == told


def test_words_are_folded_before_numbers_go():
    name = "m" * (FOLDED + 20)
    shown = printed(80, name)
    assert shown.count("m") == len(name) + 1  # and the heading's
    assert "left out" not in shown
    assert "90 %" in shown


def test_what_is_not_there_is_not_left_out():
    assert "left out" not in printed(10, least_needed=("no such",))
