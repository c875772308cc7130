"""The tutorial's cells run from the first to the last, and show tables and figures."""

import ast
import json
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("matplotlib", reason="the notebook draws figures")

NOTEBOOK = json.loads((Path(__file__).parents[2] / "docs" / "tutorial.ipynb").read_text())
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def run_cell(source, names):
    """Run a cell as a notebook does; return the value of the expression that it ends with."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


def test_it_runs_and_shows_what_it_says(folder):
    names = {}
    shown = [run_cell("".join(cell["source"]), names) for cell in CELLS]
    figures = [value for value in shown if hasattr(value, "_repr_png_")]
    tables = [value for value in shown if isinstance(value, pd.DataFrame)]
    assert [len(figures), len(tables)] == [4, 3]
    assert all(len(table) for table in tables)
    assert [value for value in shown if isinstance(value, int)][::2] == [0, 0]  # exit codes
    (axes,) = figures[-1].axes
    assert "smallest" in axes.get_legend_handles_labels()[1]
    assert (folder / "layers.pdf").read_bytes().startswith(b"%PDF")


def test_it_is_kept_without_outputs():
    assert not [c for c in CELLS if c["outputs"] or c["execution_count"]]
