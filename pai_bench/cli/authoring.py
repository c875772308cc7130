"""For authors of methods: a file to start from, the conformance suite, the bench."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from pai_bench.cli.context import Arguments, Context, say
from pai_bench.core.errors import BenchError
from pai_bench.experiment.grid import unknown_method


def new_method(context: Context, parsed: Arguments) -> int:
    """Write one small file with a working method, and its test, into the current folder."""
    from pai_bench.methods import template

    if parsed.name in context.methods:
        origin = context.methods[parsed.name].origin
        raise BenchError(f"{parsed.name} is taken ({origin}): choose another name")
    path, test = template.write(parsed.name, Path.cwd())
    say(context, "method", f"{path.name}: put your own score into it")
    say(context, "test", f"pytest {test.name}")
    say(context, "check", f"pai-bench check {parsed.name} --plugin {path.name}")
    say(context, "rank", f"pai-bench run quick --plugin {path.name}")
    return 0


def check(context: Context, parsed: Arguments) -> int:
    """Hold a method to the rules of all: exact, deterministic, true to what it declares."""
    if parsed.method not in context.methods:
        raise unknown_method(parsed.method, context.methods)
    from pai_bench.methods import conformance as conformance

    failed = 0
    for finding in conformance.check(parsed.method, context.plugins):
        mark = {True: "[green]ok[/]", False: "[red]no[/]", None: "[yellow]--[/]"}[finding.ok]
        context.console.print(f"{mark}  ", end="")
        context.console.print(Text(str(finding)), soft_wrap=True)
        failed += finding.ok is False
    return 1 if failed else 0


def bench(context: Context, parsed: Arguments) -> int:
    """Measure our paths against what one would write without them, as ratios in one run."""
    from pai_bench.bench import measure

    measure(context.console, context.settings, parsed.accelerator)
    return 0
