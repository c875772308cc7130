"""Several runs in order under one time budget, whose results become evidence."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pai_bench.cli.asked import changed
from pai_bench.cli.context import Arguments, Context, say
from pai_bench.cli.run import run_suite
from pai_bench.config.schema import CampaignStep
from pai_bench.core.errors import BenchError, unknown
from pai_bench.experiment.grid import Selection
from pai_bench.store.store import Store


def campaign(context: Context, parsed: Arguments) -> int:
    """Run the steps of a campaign of benchmark.yaml until `--budget` is spent; keep the evidence.

    With options that change the suites (`--set`), as in a trial, nothing becomes evidence.
    """
    steps = context.settings.campaigns.get(parsed.name)
    if steps is None:
        raise unknown("campaign", parsed.name, context.settings.campaigns)
    deadline, failed = time.time() + parsed.budget, 0
    for step in steps:
        left = deadline - time.time()
        if left <= 0:
            say(context, "budget", f"spent before {step.suite}: the same command goes on")
            break
        failed |= _run(context, argparse.Namespace(**{**vars(parsed), "budget": left}), step)
        if not parsed.changes:
            _keep(context, step)
    return failed


def _run(context: Context, parsed: Arguments, step: CampaignStep) -> int:
    context, suite = changed(context, parsed, step.suite)
    selection = Selection(step.methods, step.densities, step.seeds, parsed.precision)
    return run_suite(context, parsed, suite, selection, suite)


def _keep(context: Context, step: CampaignStep) -> None:
    folder = Path(step.evidence)
    if not folder.parent.is_dir():
        raise BenchError(f"campaigns: {folder.parent} is no folder here; run it in the checkout")
    count = Store(context.runs, step.suite).export(Store(folder, step.suite))
    say(context, "evidence", f"{count} cells in {folder / step.suite}")
