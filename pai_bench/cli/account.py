"""Count what trainings would cost, for claims about FLOPs that need no training."""

from __future__ import annotations

import contextlib
from collections import Counter

from rich.table import Table
from rich.text import Text

from pai_bench.cli.asked import changed, selection_of
from pai_bench.cli.context import Arguments, Context, say
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.experiment.cost import ordinary_images
from pai_bench.store.store import Store, is_finished


def account(context: Context, parsed: Arguments) -> int:
    """Count the FLOPs of a suite's cells; what has been trained stays as it is."""
    from pai_bench.claims.metric_registry import MetricContext
    from pai_bench.claims.metrics import inference_flops, training_flops
    from pai_bench.training.counting import counted

    context, suite = changed(context, parsed, parsed.suite)
    cells = grid.cells(context.settings, context.methods, suite, selection_of(context, parsed))
    store, left_out = Store(context.runs, suite), Counter[str]()
    table = Table(title=f"{suite}: FLOPs over those of the dense network", title_justify="left")
    for heading in ("method", "density", "inference", "training"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    metrics = MetricContext(images=ordinary_images(context.settings, suite))
    for cell in cells:
        if store.status(cell) is not None or cell.sanity_check:
            continue
        try:
            result = counted(cell, context.settings, context.plugins)
        except BenchError as error:
            left_out[str(error)] += 1
            continue
        with contextlib.suppress(FileExistsError):  # It has been trained meanwhile.
            store.put(cell, result, stays=is_finished)
        ratios = inference_flops(result, metrics), training_flops(result, metrics)
        if cell.seed == cells[0].seed:
            numbers = ["" if ratio is None else f"{ratio:.4f}" for ratio in ratios]
            table.add_row(Text(cell.label), f"{cell.density:.4g}", *numbers)
    context.console.print(table)
    for reason, count in left_out.items():
        say(context, "not", f"{count} cells: {reason}")
    return 0
