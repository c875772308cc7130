"""Results, boards and comparisons as tables of pandas, for analyses of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_bench.claims.metric_registry import MetricContext, available, measured
from pai_bench.claims.paired_tests import Comparison
from pai_bench.config import loader
from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError
from pai_bench.core.project import settings_file
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import ordinary_images
from pai_bench.leaderboard import export
from pai_bench.leaderboard.board import Board
from pai_bench.leaderboard.comparison import compared
from pai_bench.leaderboard.stored import Folders, folders_of, stored_board
from pai_bench.registry import methods
from pai_bench.store.result import Result
from pai_bench.store.store import Store, StoredResult

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "suite", "id", "method", "label", "network", "data", "precision", "density", "sparsity",
    "seed", "sanity_check", "status", "reason", "accuracy", "best_accuracy", "best_epoch",
    "bits_per_step", "achieved_density", "effective_density", "collapsed_layers",
    "flops_inference_dense", "flops_inference", "flops_scoring", "flops_training", "seconds",
    "memory_mb",
)  # fmt: skip
"""Columns that are there for any results; hyper-parameters and metrics follow."""


def load_results(runs: Folders = "runs", config: str | Path | None = None) -> pd.DataFrame:
    """Read all results of a folder into a data frame, one row a cell.

    Failed and skipped cells are rows too, with a `reason` and without numbers.

    Args:
        runs: Folder of results, as `pai-bench run` writes it: a folder for each suite. Or several:
            of a cell that more than one has, the row of the first is there.
        config: Settings that the suites are in; unless given, benchmark.yaml in this folder, else
            those that come with PaI-Bench.
            `metric.training-flops` is empty for a suite that they do not have.

    Returns:
        The columns are those of `COLUMNS`, then `hyper.NAME` for each hyper-parameter (defaults
        included) and `metric.NAME` for each registered metric that some result has, in the metric's
        own unit. Accuracies and densities are fractions, FLOPs absolute numbers, `seconds`
        wall-clock seconds of the whole cell, `collapsed_layers` a count.

    Raises:
        BenchError: pandas is not installed, the folder is not there, or a cell cannot be read.

    >>> results = load_results("reproductions/ntt/evidence")
    >>> pruned = results[(results.suite == "ntt-mnist") & (results.density < 1)]
    >>> pruned.groupby("label").accuracy.mean().idxmax()
    'snip'
    """
    pd = _pandas("load_results")
    folders = folders_of(runs)
    settings = loader.load(Path(config or settings_file()), methods.available())
    rows = list(_rows(folders, settings))
    of_some = {name for row in rows for name in row}
    hyper = sorted(name for name in of_some if name.startswith("hyper."))
    metrics = [name for each in available() if (name := f"metric.{each}") in of_some]
    return pd.DataFrame(rows, columns=[*COLUMNS, *hyper, *metrics])


def board(suite: str, runs: Folders = "runs", config: str | Path | None = None) -> pd.DataFrame:
    """Compute the leaderboard of a suite as a data frame, one row per method and density.

    Args:
        suite: A suite of the settings, with changes as in `quick+length=2` if need be.
        runs: Folder of results, as `pai-bench run` writes it, or several: of a cell that more than
            one has, a finished result stands, and that of the first.
        config: Settings that the suite is in; unless given, benchmark.yaml in this folder, else
            those that come with PaI-Bench.

    Returns:
        The columns of `pai-bench export`: means over `n` seeds with the ends of their 95 %
        intervals, and the difference to the best other baseline, paired by seed.

    Raises:
        BenchError: pandas is not installed, the folder is not there, the suite is unknown.

    >>> table = board("ntt-mnist", runs="reproductions/ntt/evidence")
    >>> table[table.density < 1].groupby("method").accuracy.mean().idxmax()
    'snip'
    """
    pd = _pandas("board")
    settings, computed = _board(suite, runs, config)
    context = MetricContext(images=_images(settings, suite))
    return pd.DataFrame(
        export.records(computed, context), columns=list(export.columns(computed, context))
    )


def compare(
    ours: str,
    theirs: str,
    suite: str,
    runs: Folders = "runs",
    config: str | Path | None = None,
) -> pd.DataFrame:
    """Compare two methods by the seeds that both have: what `pai-bench compare` prints.

    Args:
        ours: A method, or a line of the board as `random (scope=erk)`.
        theirs: Another one.
        suite: A suite of the settings.
        runs: Folder of results, as `pai-bench run` writes it, or several: of a cell that more than
            one has, a finished result stands, and that of the first.
        config: Settings that the suite is in; unless given, benchmark.yaml in this folder, else
            those that come with PaI-Bench.

    Returns:
        A row per density, and a last one over all of them, without a density, where some seed has
        run at each. `difference` is the first minus the second, paired by seed, with the ends of
        its 95 % t interval and of its bootstrap interval; `improvement` the probability that a run
        of the first is above one of the second. Accuracies are fractions.

    Raises:
        BenchError: pandas is not installed, the folder is not there, a name is unknown, or the two
            have no seed in common.

    >>> compare("snip", "magnitude", "ntt-mnist", "reproductions/ntt/evidence").n.tolist()
    [3]
    """
    pd = _pandas("compare")
    _, computed = _board(suite, runs, config)
    found = compared(computed, ours, theirs)
    rows = [_comparison(density, at) for density, at in found.densities.items()]
    if found.overall:
        rows.append(_comparison(None, found.overall))
    return pd.DataFrame(rows)


def _comparison(density: float | None, at: Comparison) -> dict[str, Any]:
    bootstrap = at.bootstrap or (None, None)
    return {
        "density": density, "ours": at.ours, "theirs": at.theirs,
        "difference": at.difference.mean, "low": at.difference.low, "high": at.difference.high,
        "bootstrap_low": bootstrap[0], "bootstrap_high": bootstrap[1],
        "improvement": at.improvement, "n": len(at.seeds),
    }  # fmt: skip


def _board(suite: str, runs: Folders, config: str | Path | None) -> tuple[Benchmark, Board]:
    """Compute a board from folders; its suite may have changes."""
    known = methods.available()
    settings = with_overrides(loader.load(Path(config or settings_file()), known), suite)
    computed, _ = stored_board(settings, known, folders_of(runs), suite)
    return settings, computed


def _pandas(needs: str) -> Any:
    """Import pandas. Raises BenchError where it is not installed."""
    try:
        import pandas as pd
    except ImportError:
        problem = f'{needs} needs pandas: pip install "pai-bench[pandas]"'
        raise BenchError(problem) from None
    return pd


def _rows(folders: Sequence[Path], settings: Benchmark) -> Iterator[dict[str, Any]]:
    seen: set[tuple[str, str]] = set()
    for path in (path for folder in folders for path in sorted(folder.iterdir()) if path.is_dir()):
        context = MetricContext(images=_images(settings, path.name))
        for entry in Store(path.parent, path.name).entries():
            if (path.name, entry.cell.id) in seen:
                continue
            seen.add((path.name, entry.cell.id))
            yield {
                "suite": path.name,
                **_cell(entry.cell),
                **_result(entry.result),
                **_hyper(entry),
                **{f"metric.{m.name}": v for m, v in measured(entry.result, context).items()},
            }


def _images(settings: Benchmark, suite: str) -> int | None:
    try:
        return ordinary_images(settings, suite)
    except BenchError:
        return None  # a suite with a network or data set that these settings do not have


def _cell(cell: Cell) -> dict[str, Any]:
    same = "id", "method", "label", "network", "data", "precision", "density", "seed"
    values = {name: getattr(cell, name) for name in same}
    return {**values, "sparsity": 1 - cell.density, "sanity_check": cell.sanity_check}


def _result(result: Result) -> dict[str, Any]:
    accuracy, flops = result.accuracy, result.flops
    return {
        "status": result.status,
        "reason": result.reason,
        "accuracy": accuracy and accuracy.last,
        "best_accuracy": accuracy and accuracy.best,
        "best_epoch": accuracy and accuracy.best_epoch,
        "bits_per_step": result.bits_per_step,
        "achieved_density": result.density,
        "effective_density": result.effective,
        "collapsed_layers": len(result.collapsed),
        **({f"flops_{name}": value for name, value in vars(flops).items()} if flops else {}),
        "seconds": result.seconds.get("total"),
        "memory_mb": result.memory_mb,
    }


def _hyper(entry: StoredResult) -> dict[str, Any]:
    """Hyper-parameters; of a failed cell those that differ from the defaults."""
    return {f"hyper.{k}": v for k, v in (entry.result.hyper or entry.cell.hyper).items()}
