"""Follow what is trained, on this host or others that share the folder of results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pai_bench.cli.context import Arguments, Context, say
from pai_bench.launch import status as launch_status
from pai_bench.launch import watch as launch_watch
from pai_bench.launch.display import duration
from pai_bench.launch.watch import Training
from pai_bench.store.progress_files import RunProgress

PAUSE = 2.0
"""Seconds between two looks."""
LAST_LOOKS = 3
"""Looks in which nothing ran, one after another, after which nothing will be waited for: a worker
holds no lease for a moment between two bundles."""


@dataclass(frozen=True)
class _Look:
    """What one look has found."""

    trainings: Sequence[Training]
    runs: Sequence[RunProgress]

    @property
    def is_over(self) -> bool:
        return not any(training.is_alive for training in self.trainings)


def watch(context: Context, parsed: Arguments) -> int:
    """Follow what is trained in a folder of results, here or on other hosts, until nothing is."""
    look = _look(context)
    if parsed.once or look.is_over:
        _print(context, look)
        return 0
    try:
        _follow(context, look)
    except KeyboardInterrupt:
        return 0  # What is trained goes on.
    say(context, "watch", f"nothing runs in {context.runs}/ any more")
    return 0


def _follow(context: Context, look: _Look) -> None:
    """Show the latest look: on a terminal in place of the one before, in a log where it differs."""
    on_terminal = context.console.is_terminal
    with Live(console=context.console, auto_refresh=False, transient=True) as live:
        shown, empty = "", 0
        while empty < LAST_LOOKS:
            if on_terminal:
                live.update(_shown(look), refresh=True)
            elif (text := "\n".join(_rows_as_text(look))) != shown:
                shown = text
                _print(context, look)
            time.sleep(PAUSE)
            look = _look(context)
            empty = empty + 1 if look.is_over else 0


def _look(context: Context) -> _Look:
    found = [
        one for one in launch_status.running(context.runs)
        if not one.cells[0].startswith("search-")  # Cells that wait for a search say so themselves.
    ]  # fmt: skip
    trainings = launch_watch.trainings(context.runs, found)
    return _Look(trainings, launch_watch.runs_of(context.runs, context.settings.take_over))


def _run_line(run: RunProgress) -> str:
    where = f"{run.suite} on {run.holder.host} (process {run.holder.process})"
    words = [f"{where}: {run.done}/{run.cells} cells done"]
    if run.failed:
        words.append(f"{run.failed} failed")
    left = "estimating" if run.seconds_left is None else duration(run.seconds_left)
    return " · ".join([*words, f"time left: {left}"])


def _print(context: Context, look: _Look) -> None:
    if not look.trainings:
        say(context, "watch", f"nothing runs in {context.runs}/")
        return
    context.console.print(_shown(look))


def _shown(look: _Look) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("method", "density", "seed", "state", "test accuracy", "time left", "host"):
        right = heading in ("density", "seed", "test accuracy", "time left")
        table.add_column(heading, justify="right" if right else "left")
    for row in _rows(look.trainings):
        table.add_row(*map(Text, row))
    return Group(*(Text(_run_line(run)) for run in look.runs), table)


def _rows_as_text(look: _Look) -> Iterator[str]:
    """What a look shows, but for times that pass by themselves."""
    for run in look.runs:
        yield f"{run.name} {run.done} {run.failed}"
    for row in _rows(look.trainings):
        yield " ".join((*row[:5], row[6]))


def _rows(trainings: Sequence[Training]) -> Iterator[tuple[str, ...]]:
    """A row for each network; of a process whose networks are not known, one with their ids."""
    for training in trainings:
        left = "" if training.seconds_left is None else duration(training.seconds_left)
        rest = left, f"{training.running.host} ({training.running.process})"
        if not training.cells:
            yield (", ".join(training.running.cells), "", "", training.state, "", *rest)
        for cell in training.cells:
            method = f"{cell.method} · {cell.sanity_check}" if cell.sanity_check else cell.method
            accuracy = "" if cell.accuracy is None else f"{100 * cell.accuracy:.2f} %"
            yield (
                method, f"{cell.density:.4g}", str(cell.seed), training.state, accuracy, *rest
            )  # fmt: skip
