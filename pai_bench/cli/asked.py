"""What the options of a command ask for: a suite, its changes, methods and hardware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pai_bench.cli.context import Arguments, Context
from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import Hardware, check_devices
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import bundles
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.grid import Selection
from pai_bench.launch.request import RunRequest


def changed(context: Context, parsed: Arguments, suite: str) -> tuple[Context, str]:
    """Apply the changes in the name of a suite, and those asked for by options."""
    name = "+".join([suite, *parsed.changes])
    settings = with_overrides(context.settings, name)
    return replace(context, settings=settings), name


def of_paper(context: Context, parsed: Arguments, short: str) -> tuple[Context, str, Selection]:
    """Find the suite of a paper, changed as asked, and the methods to run in it."""
    base, *changes = short.split("+")
    suite, selection = grid.suite_of_paper(context.settings, parsed.paper, base)
    context, suite = changed(context, parsed, "+".join([suite, *changes]))
    return context, suite, selection_of(context, parsed, of_paper=selection)


def selection_of(
    context: Context, parsed: Arguments, of_paper: Selection | None = None
) -> Selection:
    """What was asked for; the methods of plugin files run beside those of the suite."""
    of_files = {str(path) for path in context.plugins}
    more = tuple(n for n, info in context.methods.items() if info.module in of_files)
    methods = parsed.methods or (of_paper.methods + more if of_paper else ())
    filters = parsed.densities, parsed.seeds, parsed.precision, parsed.sanity_checks
    return Selection(methods, *filters, more)


def hardware_asked(parsed: Arguments) -> Hardware:
    """What the options of a command ask for."""
    return Hardware(
        parsed.accelerator, parsed.devices, parsed.strategy, parsed.accumulate, parsed.nodes
    )


def run_request(
    context: Context, parsed: Arguments, suite: str, cells: Sequence[Cell]
) -> RunRequest:
    """What a launcher is asked for; devices that are not there are refused."""
    check_devices(hardware_asked(parsed))
    settings, work = with_kernels(context.settings, parsed), tuple(bundles(cells))
    return RunRequest(suite, work, settings, context.runs, hardware_asked(parsed), context.plugins)


def with_kernels(settings: Benchmark, parsed: Arguments) -> Benchmark:
    """Apply the option that says how a CPU computes."""
    if parsed.kernels is None:
        return settings
    return settings.model_copy(update={"portable": parsed.kernels == "portable"})
