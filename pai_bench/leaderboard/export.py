"""A board as a file: CSV and Parquet with all digits for programs, LaTeX and Markdown to read."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from pai_bench.claims.metric_registry import NO_CONTEXT, MetricContext, measured
from pai_bench.claims.statistics import Estimate
from pai_bench.leaderboard import markdown
from pai_bench.leaderboard.board import Board, Row
from pai_bench.leaderboard.formats import Format

Value = str | float | int | None
COLUMNS: dict[str, type] = {
    "suite": str, "method": str, "density": float, "sparsity": float, "n": int,
    "accuracy": float, "low": float, "high": float, "best_epoch": float, "achieved": float,
    "effective": float, "collapsed": int, "by_position": int, "against": str, "difference": float,
    "difference_low": float, "difference_high": float, "bits": float, "bits_low": float,
    "bits_high": float,
}  # fmt: skip
"""Columns of CSV and Parquet. Accuracies and differences are fractions; `low` and `high` are the
ends of 95 % t intervals; `difference` is to the best other baseline, `against`, paired by seed;
`collapsed` and `by_position` count seeds with a layer of which nothing is kept, or whose weights
all scored the same; `bits` are those for each symbol of a text. Columns of other metrics come after
them, see `columns`.
"""


def export(board: Board, form: Format, context: MetricContext = NO_CONTEXT) -> bytes:
    """Write a board in one of the formats; `context` is that of its suite, for metrics."""
    writers: dict[Format, Callable[[Board], bytes]] = {
        "csv": lambda board: _csv(columns(board, context), records(board, context)),
        "parquet": lambda board: _parquet(columns(board, context), records(board, context)),
        "latex": lambda board: _latex(board).encode(),
        "markdown": lambda board: _markdown(board).encode(),
    }
    return writers[form](board)


def columns(board: Board, context: MetricContext = NO_CONTEXT) -> dict[str, type]:
    """Columns of CSV and Parquet: COLUMNS, then each metric that some row has a number of."""
    means = [_means(row, context) for row in board.rows]
    return COLUMNS | dict.fromkeys((name for row in means for name in row), float)


def records(board: Board, context: MetricContext = NO_CONTEXT) -> list[dict[str, Value]]:
    """One record per row of the board, with keys of `columns`; None where there is no number."""
    rows = [{**_record(board.suite, row), **_means(row, context)} for row in board.rows]
    return [dict.fromkeys(columns(board, context)) | row for row in rows]


def _record(suite: str, row: Row) -> dict[str, Value]:
    accuracy, delta = row.accuracy, row.delta.estimate if row.delta else None
    values: tuple[Value, ...] = (
        suite, row.label, row.density, 1 - row.density, len(row.entries),
        *_interval(accuracy), row.best_epoch, row.achieved, row.effective, row.collapsed,
        row.by_position, row.delta.against if row.delta else None, *_interval(delta),
        *_interval(row.bits),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _means(row: Row, context: MetricContext) -> dict[str, float]:
    """Mean over seeds of each metric that results hold, as `metric.NAME`, in its own unit."""
    values: dict[str, list[float]] = {}
    for entry in row.entries:
        for metric, value in measured(entry.result, context).items():
            values.setdefault(f"metric.{metric.name}", []).append(value)
    return {name: fmean(numbers) for name, numbers in values.items()}


def _interval(estimated: Estimate | None) -> tuple[float | None, ...]:
    return (
        (None, None, None) if estimated is None else (estimated.mean, estimated.low, estimated.high)
    )


def _csv(columns: Mapping[str, type], rows: Iterable[Mapping[str, Value]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="replace")


def _parquet(columns: Mapping[str, type], rows: Iterable[Mapping[str, Value]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink)
    return sink.getvalue()


HEADINGS = ("method", "density", "sparsity %", "accuracy %", "n", "vs best baseline", "effective")


def shown(row: Row) -> tuple[str, ...]:
    """What the terminal shows of a row."""
    return (
        row.label,
        f"{row.density:.4g}",
        f"{100 * (1 - row.density):.4g}",
        "–" if row.accuracy is None else str(row.accuracy),
        str(len(row.entries)),
        "" if row.delta is None else row.delta.estimate.signed,
        "–" if row.effective is None else f"{row.effective:.3g}",
    )


def _markdown(board: Board) -> str:
    return markdown.table(HEADINGS, [[*map(markdown.escaped, shown(row))] for row in board.rows])


def _latex(board: Board) -> str:
    body = [_latex_row([_latex_text(cell) for cell in shown(row)]) for row in board.rows]
    return "\n".join(
        [
            f"% suite {board.suite}: mean over n seeds of the last epoch's accuracy",
            "% and half of its 95 % t interval; needs \\usepackage{booktabs}",
            r"\begin{tabular}{l" + "r" * (len(HEADINGS) - 1) + "}",
            r"\toprule",
            _latex_row([_latex_text(heading) for heading in HEADINGS]),
            r"\midrule",
            *_with_spaces(board.rows, body),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _with_spaces(rows: Sequence[Row], body: Sequence[str]) -> list[str]:
    """Set methods apart."""
    spaced: list[str] = []
    for index, line in enumerate(body):
        if index and rows[index].label != rows[index - 1].label:
            spaced.append(r"\addlinespace")
        spaced.append(line)
    return spaced


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "–": "--",
}  # fmt: skip


def _latex_text(text: str) -> str:
    r"""Escape what LaTeX would take for its own; signs of numbers become minus signs.

    >>> print(_latex_text("100 % of a_b"), _latex_text("-0.36 ± 0.34"))
    100 \% of a\_b $-$0.36 $\pm$ 0.34
    """
    escaped = "".join(_LATEX.get(c, c) for c in " ".join(text.split()))
    return re.sub(r"^-(?=\d)", "$-$", escaped)
