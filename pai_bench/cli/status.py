"""What runs where, and what waits in the queues of clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from pai_bench.cli.context import Arguments, Context, say
from pai_bench.config.overrides import with_overrides
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.experiment.cell import Cell
from pai_bench.launch import status as launch_status
from pai_bench.launch.cluster.queued import QueuedJob
from pai_bench.launch.display import duration
from pai_bench.launch.launcher import ClusterLauncher, launchers, load_launcher
from pai_bench.launch.status import Running, SuiteStatus


def status(context: Context, parsed: Arguments) -> int:
    """Show what is done, what runs where and what waits, while it runs or not."""
    found = launch_status.running(context.runs)
    suites = launch_status.suites_of(context.runs, found)
    queued = list(_queued(context))
    if not suites and not queued:
        say(context, "status", f"nothing has run in {context.runs}/, and nothing runs")
        return 0
    counted = [
        launch_status.suite_status(context.runs, suite, _planned(context, suite), found)
        for suite in suites
    ]
    context.console.print(_table(counted))
    for one in found:
        say(context, "ended" if one.has_died else "running", _line(one))
    if queued:
        context.console.print(_queue(queued))
    return 0


def _queued(context: Context) -> Iterator[QueuedJob]:
    """Jobs of the launchers that have left something in this folder."""
    for name in launchers():
        if any(context.runs.glob(f"*/.{name}")):
            launcher = load_launcher(name)
            if isinstance(launcher, ClusterLauncher):
                yield from launcher.queue(context.runs)


def _queue(jobs: Sequence[QueuedJob]) -> Table:
    table = Table(title=f"{len(jobs)} jobs in a queue", title_justify="left")
    for heading in ("job", "state", "node", "for", "suite", "trains", "because"):
        table.add_column(heading)
    for job in jobs:
        said = "" if job.reason == "None" else job.reason
        words = job.id, job.state, job.node, job.elapsed, job.suite, str(job.bundle), said
        table.add_row(*map(Text, words))
    return table


def _planned(context: Context, suite: str) -> Sequence[Cell] | None:
    try:
        settings = with_overrides(context.settings, suite)
        return grid.cells(settings, context.methods, suite)
    except BenchError:
        return None


def _table(counted: Sequence[SuiteStatus]) -> Table:
    table = Table()
    for heading in ("suite", "done", "failed", "running", "waiting"):
        is_suite = heading == "suite"
        justify: JustifyMethod = "left" if is_suite else "right"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=not is_suite)
    for one in counted:
        waiting = "?" if one.waiting is None else str(one.waiting)
        table.add_row(one.suite, str(one.done), str(one.failed), str(one.running), waiting)
    return table


def _line(one: Running) -> str:
    """Say what a process trains, and since when.

    >>> _line(Running("quick", "node7", 12, ("a", "b"), 130.0, 4.0, None, False, False))
    'quick on node7 (process 12): 2 cells for 2 min 10 s · last beat 4 s ago · no checkpoint'
    """
    number = len(one.cells)
    what = f"{number} cells" if number > 1 else one.cells[0]
    checkpoint = "no checkpoint"
    if one.last_checkpoint is not None:
        checkpoint = f"checkpoint {duration(one.last_checkpoint)} ago"
    words = [
        f"{one.suite} on {one.host} (process {one.process}): {what} for {duration(one.seconds)}",
        f"last beat {duration(one.last_beat)} ago",
        checkpoint,
    ]
    if one.has_died:
        words.append("the process has ended: the next run goes on")
    elif one.is_silent:
        words.append("silent: others take over")
    return " · ".join(words)
