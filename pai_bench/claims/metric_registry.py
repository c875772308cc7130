"""Metrics: what claims, pages and exports measure of a result, one small function each.

A metric is a function decorated with `@metric("name", ...)` in `claims/metrics.py`, in the
`metrics.py` of a paper's folder, or in a module that an installed package names as an entry point
of the group `pai_bench.metrics`. Nothing else lists metrics: parser, verdicts, tables, pages and
exports take them from here. These modules are imported, so they should not need torch.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

from pai_bench.claims.tolerance import Margin, Tolerance
from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError, first_line, unknown
from pai_bench.core.project import ROOT, at
from pai_bench.core.registry import Registry
from pai_bench.store.result import Result

Epoch = Literal["last", "best"]
Kind = Literal["absolute", "ordering", "flops", "size", "spectrum", "replay"]
"""Of claims: the wording of the rule that judges them (verdicts.py)."""
Scale = Literal["accuracy", "error"]
GROUP = "pai_bench.metrics"


@dataclass(frozen=True)
class MetricContext:
    """What a metric may need to know beside the result."""

    epoch: Epoch = "last"
    """Of which a claim is; the best one is selected on the test set."""
    images: int | None = None
    """Training images that one ordinary training of the suite looks at, where that is known;
    FLOPs of longer ones are relative to it."""
    row: str = ""
    """Of the claim's table: the printed name of a method, or of something else."""
    column: str = ""
    """Of the claim's table, where its columns are no densities."""


NO_CONTEXT = MetricContext()


Measure = Callable[[Result, MetricContext], float | None]


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric: how it is measured, shown and compared with what is printed.

    Called with a result and, where it asks for one, a context, it returns a number or None where
    the result does not hold it.
    """

    name: str
    """As claims files say it."""
    measure: Measure
    unit: str
    about: str
    tolerance: Tolerance
    decimals: int | None
    """Decimals to show; None for one more than was printed."""
    kind: Kind
    scale: Scale | None
    """Which per cent it is, of right or of wrong predictions; None where it is neither. Printed
    values of these have their place in the plot of accuracies."""
    aliases: tuple[str, ...]
    """Former names, which claims files may still have."""
    module: str
    origin: str
    """File and line."""

    def __call__(self, result: Result, context: MetricContext = NO_CONTEXT) -> float | None:
        """Measure a result."""
        return self.measure(result, context)

    def digits(self, printed: str = "") -> int:
        """Decimals to show a value with, beside one that was `printed`."""
        first = re.match(r"\d*\.?(\d*)", printed.lstrip("~<>"))
        found = len(first[1]) if first else 0
        return 1 + found if self.decimals is None else self.decimals

    def shown(self, value: float) -> str:
        """A measured value as text, with its unit.

        >>> available()["accuracy"].shown(97.5)
        '97.50 %'
        """
        number = f"{value:.6g}" if self.decimals is None else f"{value:.{self.decimals}f}"
        return f"{number} {self.unit}".rstrip()

    def margin(self, printed: float, spread: float) -> Margin:
        """How far our mean may lie from a printed value, of which runs differ by `spread`."""
        error = printed if self.scale == "error" else 100 - printed
        return self.tolerance.margin(printed, error, spread)


def metric(
    name: str,
    *,
    unit: str = "",
    decimals: int | None = None,
    tolerance: Tolerance,
    kind: Kind = "absolute",
    scale: Scale | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[Callable[..., float | None]], Metric]:
    """Make a function of (result) or (result, context) the metric called `name`.

    Args:
        name: What claims files call it.
        unit: What its numbers count; empty for a plain ratio.
        decimals: Decimals to show; None for one more than the printed value has.
        tolerance: How far a reproduced value may be off.
        kind: Wording of the rule that judges its claims.
        scale: "accuracy" or "error", for per cent of right or wrong predictions.
        aliases: Former names that claims files may still have.

    Returns:
        A decorator; what it returns is a `Metric`, which can be called as the function can.
    """

    def made(function: Callable[..., float | None]) -> Metric:
        takes_context = len(inspect.signature(function).parameters) > 1
        path, line = Path(function.__code__.co_filename), function.__code__.co_firstlineno
        return Metric(
            name=name,
            measure=function if takes_context else lambda result, _: function(result),
            unit=unit,
            about=(function.__doc__ or "").strip().partition("\n")[0],
            tolerance=tolerance,
            decimals=decimals,
            kind=kind,
            scale=scale,
            aliases=aliases,
            module=function.__module__,
            origin=at(path, line),
        )

    return made


@cache
def available(root: Path = ROOT) -> Registry[Metric]:
    """List every metric that can be found, by name; none of it needs torch.

    Args:
        root: Folder that holds `reproductions/`, in whose folders papers have metrics of their own.

    Raises:
        BenchError: One line, where a paper's metrics.py cannot be imported or takes a name that
            another file has. The same of an installed package is reported and passed over.
    """
    registry = Registry[Metric]("metric")
    for module in ("pai_bench.claims.metrics", *_of_papers(root)):
        _declare(registry, module, required=True)
    for module, _ in import_utils.installed(GROUP):
        try:
            _declare(registry, module, required=False)
        except BenchError as error:
            print(f"pai-bench: {error}; passed over", file=sys.stderr)
    return registry


def find(name: str, root: Path = ROOT) -> Metric:
    """Find a metric by its name or a former one. Raises BenchError for an unknown name."""
    metrics = available(root)
    if name in metrics:
        return metrics[name]
    for each in metrics.values():
        if name in each.aliases:
            return each
    raise unknown("metric", name, metrics)


def measured(result: Result, context: MetricContext, root: Path = ROOT) -> dict[Metric, float]:
    """Measure all that a result holds a number of."""
    values = {each: each(result, context) for each in available(root).values()}
    return {each: value for each, value in values.items() if value is not None}


def sources(root: Path = ROOT) -> list[Path]:
    """Files that metrics are defined in: what is made of measured values depends on them."""
    files = {str(sys.modules[each.module].__file__) for each in available(root).values()}
    return [Path(file) for file in sorted(files)]


def _of_papers(root: Path) -> Iterator[str]:
    """Modules of the papers' metrics: by name in the package, else by path."""
    for path in sorted((root / "reproductions").glob("*/metrics.py")):
        inside = root.resolve() == ROOT.resolve()
        yield f"pai_bench.reproductions.{path.parent.name}.metrics" if inside else str(path)


def _declare(registry: Registry[Metric], module: str, required: bool) -> None:
    """Declare the metrics of a module, those that it has imported left out."""
    try:
        loaded = sys.modules[import_utils.load(module)]
    except Exception as error:
        problem = f"{type(error).__name__}: {first_line(error)}"
        raise BenchError(f"{module}: metrics cannot be imported: {problem}") from error
    for each in list(vars(loaded).values()):
        if isinstance(each, Metric) and each.module == loaded.__name__:
            load = partial(getattr, each, "measure")
            registry.declare(each.name, each, origin=each.origin, load=load, required=required)
