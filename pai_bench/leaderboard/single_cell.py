"""All that is stored of one cell, in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pai_bench.claims.metric_registry import Metric
from pai_bench.core.tables import print_fitting
from pai_bench.sparsity.perceptron import Architecture
from pai_bench.store.result import Result
from pai_bench.store.store import StoredResult


def print_cell(
    console: Console, entry: StoredResult, metrics: Mapping[Metric, float] | None = None
) -> None:
    """Print all that is stored of one cell, and its metrics."""
    result, cell = entry.result, entry.cell
    console.print(Text(f"{cell.id} · {cell} · {cell.network} · {cell.data}", style="bold"))
    console.print(Text(f"status    {result.status} {result.reason}"))
    if result.accuracy is not None:
        accuracy = result.accuracy
        console.print(
            f"accuracy  last {100 * accuracy.last:.2f} % · best {100 * accuracy.best:.2f} % "
            f"(epoch {accuracy.best_epoch}, selected on the test set)"
        )
    if result.bits_per_step is not None:
        console.print(f"bits      {result.bits_per_step:.4f} per step (test loss / ln 2)")
    if result.density is not None and result.effective is not None:
        console.print(
            f"density   target {cell.density:.6g} · achieved {result.density:.6g} "
            f"(sparsity {1 - result.density:.6g}) · effective {result.effective:.6g}"
        )
        console.print(Text("\n".join(_about_masks(result))))
    if result.layers:
        print_fitting(console, _layer_table(entry), ("shape", "kept at start"))
    if result.compacted is not None:
        small = result.compacted
        console.print(
            f"shrunk    {small.units:,} of {small.units_dense:,} units · {small.parameters:,} of "
            f"{small.parameters_dense:,} parameters · {small.flops:.4g} FLOPs an image",
            highlight=False,
        )
    if result.architecture is not None:
        console.print(f"neurons   {_neurons(result.architecture)}", highlight=False)
    blocks = {
        "metrics": {each.name: each.shown(value) for each, value in (metrics or {}).items()},
        "FLOPs": vars(result.flops) if result.flops else {},
        "seconds": result.seconds,
        "memory": {"peak MiB": result.memory_mb} if result.memory_mb else {},
        "hyper": result.hyper,
        "recipe": cell.recipe.model_dump(),
        "where": result.environment,
    }
    for name, block in blocks.items():
        if block:
            line = " · ".join(f"{key} {_short(value)}" for key, value in block.items())
            console.print(Text(f"{name:<10}{line}"))
    console.print(Text(f"folder    {entry.folder}"))
    if result.traceback:
        console.print(Text(result.traceback))


def _about_masks(result: Result) -> Iterator[str]:
    """Name the layers that collapsed, that were ranked by position, and that have no masks."""
    yield f"collapsed {', '.join(result.collapsed) or 'no layer'}"
    if result.constant_scores:
        yield f"by order  all weights scored the same in {', '.join(result.constant_scores)}"
    if result.left_out:
        count = sum(result.left_out.values())
        share = count / (count + sum(layer.total for layer in result.layers))
        yield f"no masks  {', '.join(result.left_out)}: {count:,} weights, {share:.1%} of all"


def _neurons(architecture: Architecture) -> str:
    """What is left without dead neurons; its sizes are metrics."""
    return f"{architecture} left, inputs first · {architecture.kept:,} weights kept"


def _layer_table(entry: StoredResult) -> Table:
    table = Table()
    for heading in (
        "layer",
        "shape",
        "weights",
        "kept at start",
        "kept at end",
        "density",
        "effective",
    ):
        if heading == "layer":
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for layer in entry.result.layers:
        table.add_row(
            Text(layer.name), "×".join(map(str, layer.shape)), f"{layer.total:,}",
            f"{layer.kept_start:,}", f"{layer.kept_end:,}",
            f"{layer.kept_end / layer.total:.4g}", f"{layer.effective / layer.total:.4g}",
        )  # fmt: skip
    return table


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
