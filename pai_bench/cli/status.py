"""Show what waits and runs in the queues of clusters."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from pai_bench.cli.context import Arguments, Context
from pai_bench.launch.launcher import ClusterLauncher, launchers, load_launcher
from pai_bench.launch.queued import QueuedJob


def status(context: Context, parsed: Arguments) -> int:
    """Show the jobs of this folder of results in the queue of a cluster: what runs where."""
    jobs = list(_queued(context))
    if not jobs:
        context.console.print("no jobs wait or run in a queue")
        return 0
    table = Table(title=f"{len(jobs)} jobs", title_justify="left")
    for heading in ("job", "state", "node", "for", "suite", "trains", "because"):
        table.add_column(heading)
    for job in jobs:
        said = "" if job.reason == "None" else job.reason
        words = job.id, job.state, job.node, job.elapsed, job.suite, str(job.bundle), said
        table.add_row(*map(Text, words))
    context.console.print(table)
    return 0


def _queued(context: Context) -> Iterator[QueuedJob]:
    """Jobs of the launchers that have left something in this folder."""
    for name in launchers():
        if any(context.runs.glob(f"*/.{name}")):
            launcher = load_launcher(name)
            if isinstance(launcher, ClusterLauncher):
                yield from launcher.queue(context.runs)
