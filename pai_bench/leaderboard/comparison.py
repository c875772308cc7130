"""Two methods side by side: paired differences at each density and over all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pai_bench.claims.paired_tests import Comparison, compare
from pai_bench.core.errors import BenchError, unknown
from pai_bench.core.tables import print_fitting
from pai_bench.leaderboard.board import Board, Row


@dataclass(frozen=True)
class Compared:
    """Two lines of a board."""

    suite: str
    ours: str
    theirs: str
    densities: dict[float, Comparison]
    """Where they share seeds, densities descending."""
    overall: Comparison | None
    """Means over these densities, seed by seed; None with one density, or where no seed has run at
    all of them. Its probability of improvement is the mean of those at the densities."""


def compared(board: Board, ours: str, theirs: str) -> Compared:
    """Compare two lines of a board, each named in full or by its method.

    Raises BenchError where a name is none or several lines, or the two share no run.
    """
    mine, other = _line(board, ours), _line(board, theirs)
    if mine == other:
        raise BenchError(f"{mine} cannot be compared with itself; name two methods")
    rows = {line: _rows(board, line) for line in (mine, other)}
    densities = {
        density: comparison
        for density, row in rows[mine].items()
        if density in rows[other]
        and (comparison := compare(row.by_seed, rows[other][density].by_seed))
    }
    if not densities:
        raise BenchError(
            f"suite {board.suite}: {mine} and {other} have no seed in common at any density; "
            f"pai-bench run {board.suite} runs what is missing"
        )
    overall = _overall(rows[mine], rows[other], densities)
    return Compared(board.suite, mine, other, densities, overall)


def _line(board: Board, name: str) -> str:
    """Find the one line that is called `name` or is of the method `name`."""
    lines = list(dict.fromkeys(row.label for row in board.rows))
    if name in lines:
        return name
    of_method = list(dict.fromkeys(row.label for row in board.rows if row.method == name))
    if len(of_method) > 1:
        raise BenchError(f"{name} is several lines; name one: {', '.join(of_method)}")
    if not of_method:
        raise unknown("method", name, lines, f"suite {board.suite}: ")
    return of_method[0]


def _rows(board: Board, line: str) -> dict[float, Row]:
    return {row.density: row for row in board.rows if row.label == line}


def _overall(
    ours: dict[float, Row], theirs: dict[float, Row], densities: dict[float, Comparison]
) -> Comparison | None:
    seeds = set.intersection(*(set(comparison.seeds) for comparison in densities.values()))
    if len(densities) < 2 or not seeds:
        return None
    means = [
        {seed: fmean(rows[density].by_seed[seed] for density in densities) for seed in seeds}
        for rows in (ours, theirs)
    ]
    comparison = compare(*means)
    assert comparison is not None
    return replace(comparison, improvement=fmean(c.improvement for c in densities.values()))


def print_compared(console: Console, result: Compared) -> None:
    """Print one line per density, then one over all of them."""
    title = f"{result.suite}: {result.ours} − {result.theirs}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("density", justify="right", no_wrap=True)
    for name in _headings(result.ours, result.theirs):
        table.add_column(Text(name), justify="right", min_width=6, overflow="fold")
    for heading in ("minus", "95 % t", "bootstrap", "above", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for density, at in result.densities.items():
        table.add_row(*_columns(f"{density:.4g}", at))
    if result.overall:
        table.add_section()
        table.add_row(*_columns("all", result.overall))
    print_fitting(console, table, ("bootstrap", "above", "95 % t"))
    console.print(_LEGEND, style="dim", highlight=False)


def _headings(ours: str, theirs: str) -> tuple[str, str]:
    """Short names under a title that has the full ones: methods, or two lines of the same method.

    >>> _headings("rigl (end=0.5)", "set (end=0.5)"), _headings("snip (l2=True)", "snip")
    (('rigl', 'set'), ('first', 'second'))
    """
    methods = ours.partition(" ")[0], theirs.partition(" ")[0]
    return methods if methods[0] != methods[1] else ("first", "second")


_LEGEND = (
    "accuracy in per cent of the last epoch; minus: the difference in points, paired by seed\n"
    "bootstrap: 95 % percentiles of resampled seeds, too narrow with few of them\n"
    "above: share of all pairs of runs in which the first is above, ties counting half\n"
    "all: each seed's mean over the densities, so that n stays the number of seeds"
)


def _columns(name: str, comparison: Comparison) -> list[Text]:
    interval = (comparison.difference.low, comparison.difference.high)
    return [
        Text(name),
        Text(f"{100 * comparison.ours:.2f}"),
        Text(f"{100 * comparison.theirs:.2f}"),
        Text(f"{100 * comparison.difference.mean:+.2f}"),
        Text(_ends(*interval)),
        Text(_ends(*(comparison.bootstrap or (None, None)))),
        Text(f"{comparison.improvement:.2f}"),
        Text(str(len(comparison.seeds))),
    ]


def _ends(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{100 * low:+.2f} to {100 * high:+.2f}"
