"""The leaderboard of all evidence that is kept with the code, as one page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pai_bench.claims import verdicts
from pai_bench.claims.lookup import ResultLookup, evidence_folders
from pai_bench.claims.parser import of_papers
from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark
from pai_bench.core.project import ROOT
from pai_bench.leaderboard import markdown
from pai_bench.leaderboard.board import Board, Row
from pai_bench.leaderboard.stored import stored_board
from pai_bench.leaderboard.summary import Summary, summarise
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store.store import Store

PAGE = Path("reproductions") / "LEADERBOARD.md"
_LEGEND = """\
Accuracy of the last epoch on the test set in per cent: mean over n seeds and half of the 95 % t
interval. **Bold** is the highest mean at a density, often within the noise; † marks methods of
which a layer lost all its weights in some seed, ‡ those whose scores are the same for all weights
of a layer, so that position decides. Mean rank (1 is best) and area, the mean accuracy over log
density, are over the part of the grid that all methods of a table have. Terms are those of the
[README](../README.md); `make evidence-report` writes this page."""
Methods = Mapping[str, MethodInfo]


def evidence_leaderboard(settings: Benchmark, methods: Methods, root: Path = ROOT) -> str:
    """Write the page: verdicts of each paper, then each suite with its methods by mean rank."""
    folders = evidence_folders(root)
    lines = ["# Leaderboard", "", *_verdicts(settings, methods, root), _LEGEND, ""]
    for folder in folders:
        for path in sorted(p for p in folder.iterdir() if p.is_dir()):
            lines += _suite(settings, methods, path, folder.relative_to(root))
    return "\n".join(lines)


def _verdicts(settings: Benchmark, methods: Methods, root: Path) -> Iterator[str]:
    measured = ResultLookup(settings, methods, evidence_folders(root))
    rows = []
    for claims in of_papers(None, root):
        judged = verdicts.judge(claims, measured)
        link = f"[{claims.content.paper}]({claims.folder.name}/README.md)"
        rows.append([link, str(len(judged)), *map(str, verdicts.tally(judged).values())])
    yield markdown.table(["paper", "claims", *verdicts.STATES], rows, ("paper",))


def _suite(settings: Benchmark, methods: Methods, path: Path, folder: Path) -> Iterator[str]:
    name = path.name
    board, _ = stored_board(with_overrides(settings, name), methods, [path.parent], name)
    entries = Store(path.parent, name).entries()
    cells = sum(entry.numbers.accuracy is not None for entry in entries)
    if not cells:
        return  # FLOPs that were counted, and no network
    yield f"## {name}"
    yield ""
    yield f"{settings.suites[name.partition('+')[0]].about} {cells} network{'s' * (cells != 1)};"
    yield f"`pai-bench leaderboard --suite {name} --runs {folder.as_posix()}`."
    yield ""
    yield from _table(board)
    if board.checks:
        yield "Accuracy minus that under a sanity check, in points, paired by seed:"
        yield ""
        yield from _checks(board)


def _table(board: Board) -> Iterator[str]:
    summaries = summarise(board)
    by_line = {summary.label: summary for summary in summaries.lines} if summaries else {}
    densities = sorted({row.density for row in board.rows}, reverse=True)
    of_line: dict[str, dict[float, Row]] = {}
    for row in board.rows:
        of_line.setdefault(row.label, {})[row.density] = row
    unpruned = [line for line, rows in of_line.items() if set(rows) == {1.0}]
    ranked = [line for line in by_line if line not in unpruned]
    order = [*unpruned, *ranked, *(line for line in of_line if line not in [*unpruned, *ranked])]
    lines = []
    for line in order:
        rows = of_line[line]
        n = max(len(row.entries) for row in rows.values())
        numbers = [_accuracy(board, rows.get(density)) for density in densities]
        lines.append([markdown.escaped(line), str(n), *_summed(by_line.get(line)), *numbers])
    headings = ["method", "n", "mean rank", "area", *(f"{d:.4g}" for d in densities)]
    yield markdown.table(headings, lines)


def _summed(summary: Summary | None) -> Sequence[str]:
    if summary is None:
        return "", ""
    area = "" if summary.area is None else f"{100 * summary.area:.2f}"
    return f"{summary.rank:.1f}", area


def _accuracy(board: Board, row: Row | None) -> str:
    """One place of the table: empty where nothing was planned, a dash where nothing has run."""
    if row is None:
        return ""
    if row.accuracy is None:
        return "–"
    shown = str(row.accuracy)
    if row.density < 1 and board.best_at(row.density) == row.label:
        shown = f"**{shown}**"
    marks = f"{'†' if row.collapsed else ''}{'‡' if row.by_position else ''}"
    return f"{shown} {marks}".rstrip()


def _checks(board: Board) -> Iterator[str]:
    rows = [
        [markdown.escaped(row.label), f"{row.density:.4g}", *_losses(board, row)]
        for row in board.rows
        if row.checks
    ]
    yield markdown.table(["method", "density", *board.checks], rows)


def _losses(board: Board, row: Row) -> Iterator[str]:
    """What each sanity check takes away from a row."""
    for name in board.checks:
        yield row.checks[name].signed if name in row.checks else ""
