"""Run programs of a paper's authors again on their own inputs, for claims on what they printed."""

from __future__ import annotations

import time

from pai_bench.cli.asked import with_kernels
from pai_bench.cli.context import Arguments, Context, say
from pai_bench.core import kernels
from pai_bench.launch.display import duration

EVERY = 60.0
"""Seconds between two lines that say how far a replay is."""


def replay(context: Context, parsed: Arguments) -> int:
    """Run the authors' programs again on their own inputs; what is stored already stays."""
    settings = with_kernels(context.settings, parsed)
    kernels.choose(settings.portable, settings.threads)  # before torch is loaded
    from pai_bench.claims.parser import of_papers
    from pai_bench.store import replayed as stored
    from pai_bench.store.replayed import Replica
    from pai_bench.training.replay import program_of, programs, replayed

    (claims,) = of_papers(parsed.paper)
    known = programs(claims.folder)
    for name in parsed.programs or known:
        program = program_of(known, name)
        earlier = stored.read(context.runs, parsed.paper, name)
        steps = min(parsed.steps or program.steps, program.steps)
        wanted = (
            Replica(run, number)
            for number in range(1, parsed.replicas + 1)
            for run in range(1, program.runs + 1)
        )
        for replica in wanted:
            title = f"{name}, run {replica.run} of the authors, replica {replica.number}"
            if replica in earlier and program.covers(earlier[replica], steps):
                say(context, "stored", title)
                continue
            context.runs.mkdir(parents=True, exist_ok=True)
            checkpoint = stored.checkpoint(context.runs, parsed.paper, name, replica)
            report = _Report(context, title, steps)
            result = replayed(program, replica, steps, settings, checkpoint, report)
            path = stored.write(context.runs, parsed.paper, name, replica, result)
            say(context, "replayed", f"{title}: {path.name} ({duration(result.seconds['total'])})")
    say(context, "claims", f"pai-bench claims {parsed.paper}")
    return 0


class _Report:
    """Says now and then how far a replay is."""

    def __init__(self, context: Context, title: str, steps: int) -> None:
        self._context, self._title, self._steps = context, title, steps
        self._last = time.monotonic()

    def __call__(self, step: int) -> None:
        if time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            say(self._context, "replays", f"{self._title}: step {step} of {self._steps}")
