"""Exported boards read back, and nothing in them is taken for markup."""

import csv
import io
import re

import pytest
from pyarrow import parquet

from pai_bench.claims.statistics import estimate
from pai_bench.leaderboard.board import Board, Difference, Row
from pai_bench.leaderboard.export import COLUMNS, export, records

HOSTILE = r'a|b_c & 50 % {x}^2 \ #1 "q", ~$'


def row(line, density, values, **more):
    found = estimate(values) if values else None
    return Row(
        label=line, method=line, density=density, cells=(), entries=(), missing=(), accuracy=found,
        best_epoch=None, bits=None, achieved=density, effective=0.1 + 0.2, collapsed=1, **more,
    )  # fmt: skip


@pytest.fixture
def board():
    delta = Difference("random (scope=erk)", estimate([-0.01, -0.0123]))
    return Board(
        "quick",
        (
            row(HOSTILE, 0.018014398509481984, [1 / 3, 0.5], delta=delta),
            row(HOSTILE, 0.01, []),
            row("snip", 0.5, [0.9]),
        ),
    )


def test_csv_reads_back_with_all_digits(board):
    read = list(csv.DictReader(io.StringIO(export(board, "csv").decode())))
    expected = records(board)
    assert list(read[0]) == list(COLUMNS)
    for found, record in zip(read, expected, strict=True):
        typed = {k: COLUMNS[k](v) if v != "" else None for k, v in found.items()}
        assert typed == record


def test_parquet_reads_back_with_types(board):
    table = parquet.read_table(io.BytesIO(export(board, "parquet")))
    assert table.to_pylist() == records(board)
    assert str(table.schema.field("density").type) == "double"
    assert str(table.schema.field("n").type) == "int64"


def cells_of_markdown(line):
    return [re.sub(r"\\(.)", r"\1", c.strip()) for c in re.split(r"(?<!\\)\|", line.strip("| "))]


def test_markdown_has_one_cell_per_column_and_shows_names_as_they_are(board):
    head, rule, *rows = export(board, "markdown").decode().splitlines()
    # A backslash and a bar that are escaped are one character each.
    plain = [line.replace(r"\\", "\0") for line in rows]
    assert all(len(re.split(r"(?<!\\)\|", line)) == 9 for line in (head, rule, *plain))
    (name, density, sparsity, accuracy, n, *_) = cells_of_markdown(plain[0])
    assert name.replace("\0", "\\") == HOSTILE
    assert (density, sparsity, n) == ("0.01801", "98.2", "0")
    assert accuracy.startswith("41.67 ± ")


def test_latex_is_a_booktabs_table_in_which_everything_is_escaped(board):
    text = export(board, "latex").decode()
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    assert r"\begin{tabular}{lrrrrrr}" in text
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 3
    assert body.count(r"\addlinespace") == 1
    for line in lines:
        assert len(re.findall(r"(?<!\\)&", line)) == 6
        assert not re.search(r"(?<!\\)[#%_^~]", line)
        assert line.count("$") - line.count(r"\$") in (
            2 * line.count(r"\pm") + 2,
            2 * line.count(r"\pm"),
        )
    for character, escaped in {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#"}.items():
        assert character in HOSTILE
        assert escaped in lines[0]
    assert r"\textbackslash{}" in lines[0]
    assert r"$-$1.11 $\pm$" in lines[0]
