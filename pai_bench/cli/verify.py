"""Check what is stored: is it what was written, and does training again give the same bits?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import JustifyMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pai_bench.cli.context import Arguments, Context, say
from pai_bench.config.overrides import with_overrides
from pai_bench.core.errors import BenchError
from pai_bench.core.tables import print_fitting
from pai_bench.experiment import grid
from pai_bench.store.store import Store
from pai_bench.store.verification import (
    SuiteVerification,
    check_single,
    differing_twins,
    single_files,
    suites_of,
    verify_suite,
)

COLUMNS = ("folder", "results", "wrong", "planned", "failed", "no digest", "no masks", "old")
LEGEND = (
    "planned: of the suite's cells, those with a result · no digest: of an older version; files "
    "and accuracy were checked, other numbers cannot be · no masks: evidence, only their digest is "
    "kept · old: the method has another version today"
)


def verify(context: Context, parsed: Arguments) -> int:
    """Check all stored results and evidence against their digests; `--rerun` trains some again."""
    folders = parsed.folders or [folder for folder in context.judged if folder.is_dir()]
    found = [
        verified
        for runs in folders
        for suite in suites_of(runs)
        if (verified := verify_suite(runs, suite, context.methods))
    ]
    singles = [path for runs in folders for path in single_files(runs)]
    if not found and not singles:
        raise BenchError(f"{', '.join(map(str, folders)) or context.runs}: no results to verify")
    _print(context, found)
    problems = [problem for verified in found for problem in verified.problems]
    problems += _wrong(singles)
    if singles:
        say(context, "files", f"{len(singles)} replays, spectra and searches, checked too")
    for problem in problems:
        say(context, "wrong", problem)
    if not problems:
        for twins in differing_twins([verified.folder for verified in found]):
            say(context, "twins", twins)
    differing = _rerun(context, parsed, found) if parsed.rerun else 0
    return 1 if problems or differing else 0


def _wrong(singles: Sequence[Path]) -> Iterator[str]:
    for path in singles:
        try:
            check_single(path)
        except BenchError as error:
            yield str(error)


def _print(context: Context, found: list[SuiteVerification]) -> None:
    table = Table()
    for heading in COLUMNS:
        of_folder = heading == "folder"
        justify: JustifyMethod = "left" if of_folder else "right"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=not of_folder)
    for verified in found:
        counts = (verified.failed, verified.without_digest, verified.without_masks,
                  verified.other_version)  # fmt: skip
        numbers = [str(number) if number else "" for number in counts]
        wrong = Text(str(len(verified.problems)), "red" if verified.problems else "green")
        planned = _planned(context, verified.folder)
        name = escape(os.path.relpath(verified.folder))
        table.add_row(name, str(verified.results), wrong, planned, *numbers)
    print_fitting(context.console, table, ("old", "no digest", "no masks"))
    context.console.print(Text(LEGEND, "dim"))


def _planned(context: Context, folder: Path) -> str:
    """How many of the cells that the suite plans have a result, as `3/201`."""
    try:
        settings = with_overrides(context.settings, folder.name)
        cells = grid.cells(settings, context.methods, folder.name)
    except BenchError:
        return "no such suite"
    stored = set(Store(folder.parent, folder.name).ids())
    return f"{sum(cell.id in stored for cell in cells)}/{len(cells)}"


def _rerun(context: Context, parsed: Arguments, found: list[SuiteVerification]) -> int:
    """Train `--rerun` cells again; return the number of those that came out otherwise."""
    from pai_bench.core import environment
    from pai_bench.launch.rerun import chosen, rerun

    entries = [
        entry
        for verified in found
        if not verified.problems
        for entry in Store(verified.folder.parent, verified.folder.name).entries()
    ]
    selected = chosen(entries, context.settings, parsed.rerun)
    differing = 0
    for again in rerun(selected, context.settings, context.plugins, context.console, parsed.jobs):
        differing += bool(again.differences)
        outcome = "; ".join(again.differences) or "the same bits"
        say(context, "rerun", f"{again.stored.cell.id} {again.stored.cell}: {outcome}")
        if again.differences:
            say(context, "", f"made on {_made_on(again.stored.result.environment)}")
    here = environment.describe("cpu", context.settings.threads)
    say(context, "rerun", f"{len(selected) - differing} of {len(selected)} cells came out the same")
    say(context, "here", _made_on(here))
    return differing


def _made_on(known: object) -> str:
    """Name what bits may depend on, of the environment of a result."""
    record = known if isinstance(known, dict) else {}
    packages = record.get("packages", {})
    versions = [f"{name} {packages[name]}" for name in ("torch", "numpy") if name in packages]
    words = [record.get("processor"), *versions, f"Python {record.get('python')}"]
    return ", ".join(str(word) for word in words if word)
