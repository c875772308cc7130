"""Measure spectra of tangent kernels before training, for claims about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from rich.table import Table
from rich.text import Text

from pai_bench.cli.asked import changed, selection_of, with_kernels
from pai_bench.cli.context import Arguments, Context, say
from pai_bench.core import kernels
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.launch.display import duration
from pai_bench.store import comparable
from pai_bench.store import spectra as stored
from pai_bench.store.stored_result import StoredResult


def spectrum(context: Context, parsed: Arguments) -> int:
    """Measure spectra of tangent kernels of a suite's networks, untrained; what is there stays."""
    context = replace(context, settings=with_kernels(context.settings, parsed))
    kernels.choose(context.settings.portable, context.settings.threads)  # before torch is loaded
    from pai_bench.training.spectra import Spectra

    context, suite = changed(context, parsed, parsed.suite)
    cells = grid.cells(context.settings, context.methods, suite, selection_of(context, parsed))
    earlier = comparable.stored_spectra([context.runs], suite, cells, context.methods)
    by_id = {entry.cell.id: entry for entry in earlier}
    measure, left_out = Spectra(context.settings, context.plugins), Counter[str]()
    for cell in cells:
        if cell.id in by_id:
            continue
        try:
            result = measure.of(cell)
        except BenchError as error:
            left_out[str(error)] += 1
            continue
        context.runs.mkdir(parents=True, exist_ok=True)
        by_id[cell.id] = stored.read_spectrum(stored.write(context.runs, suite, cell, result))
        name = f"{cell.label}, density {cell.density:.4g}, seed {cell.seed}"
        say(context, "measured", f"{name} ({duration(result.seconds['total'])})")
    _print(context, suite, [by_id[cell.id] for cell in cells if cell.id in by_id])
    for reason, count in left_out.items():
        say(context, "not", f"{count} cells: {reason}")
    return 0


def _print(context: Context, suite: str, entries: list[StoredResult]) -> None:
    from pai_bench.claims.metrics import largest_eigenvalue, spectrum_distance

    def shown(entry: StoredResult) -> list[str]:
        largest, distance = (of(entry.result) for of in (largest_eigenvalue, spectrum_distance))
        assert largest is not None
        assert distance is not None
        return [f"{10**largest:.4g}", f"{distance:.3f}"]

    table = Table(title=f"{suite}: spectra before training", title_justify="left")
    for heading in ("method", "density", "seed", "largest", "distance"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for entry in entries:
        cell = entry.cell
        table.add_row(Text(cell.label), f"{cell.density:.4g}", str(cell.seed), *shown(entry))
    context.console.print(table)
    legend = "largest: eigenvalue · distance: mean distance from the dense network's, in decades"
    context.console.print(Text(legend, "dim"))
