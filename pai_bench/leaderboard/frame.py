"""Stored results as a table of pandas, for analyses of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_bench.claims.metric_registry import MetricContext, available, measured
from pai_bench.config import loader
from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError
from pai_bench.core.project import SETTINGS
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import ordinary_images
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


def load_results(runs: str | Path = "runs", config: str | Path | None = None) -> pd.DataFrame:
    """Read all results of a folder into a data frame, one row a cell.

    Failed and skipped cells are rows too, with a `reason` and without numbers.

    Args:
        runs: Folder of results, as `pai-bench run` writes it: a folder for each suite.
        config: Settings that the suites are in; those that come with PaI-Bench unless given.
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
    try:
        import pandas as pd
    except ImportError:
        problem = 'load_results needs pandas: pip install "pai-bench[pandas]"'
        raise BenchError(problem) from None
    folder = Path(runs)
    if not folder.is_dir():
        raise BenchError(f"{folder}: no such folder of results")
    settings = loader.load(Path(config or SETTINGS), methods.available())
    rows = list(_rows(folder, settings))
    of_some = {name for row in rows for name in row}
    hyper = sorted(name for name in of_some if name.startswith("hyper."))
    metrics = [name for each in available() if (name := f"metric.{each}") in of_some]
    return pd.DataFrame(rows, columns=[*COLUMNS, *hyper, *metrics])


def _rows(folder: Path, settings: Benchmark) -> Iterator[dict[str, Any]]:
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        context = MetricContext(images=_images(settings, path.name))
        for entry in Store(folder, path.name).entries():
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
