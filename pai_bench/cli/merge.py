"""Join the results of several machines."""

from __future__ import annotations

import os

from pai_bench.cli.context import Arguments, Context, say
from pai_bench.core.errors import BenchError
from pai_bench.store.merging import plan_merge

SHOWN = 20
"""Contradictions that are named."""


def merge(context: Context, parsed: Arguments) -> int:
    """Join folders of results; where two contradict each other, name the cells, write nothing."""
    target = parsed.into or parsed.folders[0]
    if parsed.prefer and parsed.prefer not in [*parsed.folders, target]:
        raise BenchError(f"--prefer: {parsed.prefer} is none of the folders that are merged")
    plan = plan_merge(parsed.folders, target, context.methods, parsed.prefer)
    for line in plan.contradictions[:SHOWN]:
        say(context, "differs", line)
    if plan.contradictions:
        raise BenchError(
            f"{len(plan.contradictions)} contradictions, so that nothing was written; "
            "--prefer FOLDER keeps what lies in one of the folders"
        )
    plan.write()
    where = f"{os.path.relpath(target)}/"
    say(context, "merged", f"{len(plan.copies)} came into {where}, {plan.same} were there twice")
    say(context, "next", f"pai-bench verify {where} · pai-bench leaderboard --runs {where}")
    return 0
