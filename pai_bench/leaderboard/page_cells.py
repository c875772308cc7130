"""Single cells on a page: a line of JSON for each, with what many share kept once."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any

from pai_bench.claims.metric_registry import MetricContext, measured
from pai_bench.config.schema import Recipe
from pai_bench.core.redact import redact_data, redact_text
from pai_bench.data.locations import redact_source
from pai_bench.experiment.cell import Cell
from pai_bench.leaderboard.html import embed
from pai_bench.store.index import Line
from pai_bench.store.result import Result
from pai_bench.store.store import Curves, StoredResult

LONGEST = 100
"""Epochs of a curve that a page holds; of longer ones every second, third, ... is kept."""
DIGITS = "%.6g"
"""Of metrics and of the values of a curve: more than any plot shows."""
SHARED = ("environment", "recipe", "hyper", "layers")
"""Parts of a cell that many cells have in common."""
_CANONICAL = json.JSONEncoder(sort_keys=True, default=str)


class Lines:
    """Makes lines; `records` fills with what they share, by digest."""

    def __init__(self, records: dict[str, Any]) -> None:
        self.records = records
        self._digests: dict[str, str] = {}
        self._last: dict[str, tuple[Any, str]] = {}

    def line(
        self, cell: Cell, entry: StoredResult | None, suite: str, context: MetricContext
    ) -> Line:
        """One cell, with its result if there is one; what is empty is left out."""
        fields: dict[str, Any] = {
            "id": cell.id,
            "suite": suite,
            "line": cell.label,
            "method": cell.method,
            "density": cell.density,
            "seed": cell.seed,
            "ablation": cell.sanity_check,
            "status": "not run",
            "recipe": self._named("recipe", cell.recipe, _fields),
            "command": command(cell, suite),
        }
        if entry is not None:
            fields |= self._result(entry.result, cell.method, context)
        text = embed({k: v for k, v in fields.items() if v is not None and v != ""})
        if entry is not None and (curves := thinned(entry.curves())):
            text = f'{text[:-1]},"curves":{curves}}}'
        return Line(text, {kind: digest for kind in SHARED if (digest := fields.get(kind))})

    def _result(self, result: Result, method: str, context: MetricContext) -> dict[str, Any]:
        layers = tuple((layer.name, layer.shape, layer.total) for layer in result.layers)
        kept = [[layer.kept_start, layer.kept_end, layer.effective] for layer in result.layers]
        return {
            "status": result.status,
            "reason": redact_text(result.reason),
            "accuracy": result.accuracy and vars(result.accuracy),
            "bits_per_step": result.bits_per_step,
            "achieved": result.density,
            "effective": result.effective,
            "collapsed": result.collapsed if result.accuracy else None,
            "constant_scores": result.constant_scores or None,
            "left_out": ", ".join(result.left_out) or None,
            "layers": self._named("layers", layers, _listed) if layers else None,
            "kept": kept or None,
            "flops": result.flops and vars(result.flops),
            "shrunk": result.compacted and vars(result.compacted),
            "architecture": result.architecture and str(result.architecture),
            "metrics": _metrics(result, context),
            "seconds": {name: round(spent, 3) for name, spent in result.seconds.items()},
            "memory_mb": result.memory_mb,
            "hyper": self._named(f"hyper of {method}", result.hyper, dict),
            "environment": self._named("environment", result.environment, dict, _published),
        }

    def _named(
        self,
        kind: str,
        value: Any,
        plain: Callable[[Any], Any],
        publish: Callable[[Any], Any] = lambda record: record,
    ) -> str:
        """Name what cells share: most often that of the cell before, and comparing is cheap.

        `plain` makes JSON data of it, `publish` makes those fit to be published. Values of one
        kind have the same types (1, 1.0 and True are equal, and are not the same JSON).
        """
        if kind not in self._last or self._last[kind][0] != value:
            self._last[kind] = value, self._shared(plain(value), publish)
        return self._last[kind][1]

    def _shared(self, record: Any, publish: Callable[[Any], Any]) -> str:
        """Name a record by the start of its digest."""
        text = _CANONICAL.encode(record)
        if text not in self._digests:
            digest = hashlib.sha256(text.encode()).hexdigest()[:10]
            self._digests[text] = digest
            self.records[digest] = publish(record)
        return self._digests[text]


def _metrics(result: Result, context: MetricContext) -> dict[str, float] | None:
    """Values of the metrics, rounded."""
    values = measured(result, context).items()
    return {metric.name: float(DIGITS % value) for metric, value in values} or None


def _listed(layers: Iterable[tuple[str, tuple[int, ...], int]]) -> list[Any]:
    return [[name, list(shape), total] for name, shape, total in layers]


def _fields(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def _published(environment: Mapping[str, Any]) -> Any:
    record = dict(environment)
    if "source" in (data := record.get("data") or {}):
        record["data"] = {**data, "source": redact_source(data["source"])}
    return redact_data(record)


def thinned(curves: Curves) -> str:
    """JSON of curves of at most about `LONGEST` epochs, rounded; the last one is always among them.

    "" where there is no epoch. Written by hand, as most of a page is this.

    >>> thinned({"test_accuracy": [0.1234567, 0.95]})
    '{"every":1,"epochs":2,"test_accuracy":[0.123457,0.95]}'
    """
    epochs = max(map(len, curves.values()), default=0)
    if not epochs:
        return ""
    step = -(-epochs // LONGEST)
    values = [f"{_key(name)}:[{_digits(_every(c, step))}]" for name, c in curves.items()]
    return f'{{"every":{step},"epochs":{epochs},{",".join(values)}}}'


@lru_cache(maxsize=64)
def _key(name: str) -> str:
    return embed(name)


def _digits(curve: Sequence[float]) -> str:
    """Rounded numbers with commas; what is no number is null."""
    if None in curve or not isfinite(sum(curve)):
        finite = [v is not None and isfinite(v) for v in curve]
        return ",".join(DIGITS % v if k else "null" for v, k in zip(curve, finite, strict=True))
    return ",".join([DIGITS] * len(curve)) % tuple(curve)


def _every(curve: Sequence[float], step: int) -> Sequence[float]:
    """Each so many values, and the last."""
    if step == 1:
        return curve
    return [*curve[step - 1 :: step], *(curve[-1:] if len(curve) % step else ())]


def command(cell: Cell, suite: str) -> str:
    """The command that runs this one cell (and the method's other variants in the suite)."""
    precision = "" if cell.precision == "32-true" else f" --precision {cell.precision}"
    sanity_check = f" --sanity-check {cell.sanity_check}" if cell.sanity_check else ""
    return (
        f"pai-bench run {shlex.quote(suite)} --methods {cell.method} "
        f"--densities {cell.density!r} --seeds {cell.seed}{precision}{sanity_check}"
    )
