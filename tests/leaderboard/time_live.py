"""What live runs cost trainings: pairs of the same job, with and without.

    python tests/leaderboard/time_live.py [PAIRS] [EPOCHS]

A job trains two networks on two workers; W&B is the server of these tests, in a process that does
not count. For each pair it says how long both took, and how many processor seconds the processes
of W&B's client needed, and this one more than without, over the time of two processors: what a
training can lose to them at most, where all processors train. The ratio of times says it too, if
nothing else runs.
In the end both are said with Student's 95 % interval. Linux only.
"""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from threading import Event

from rich.console import Console
from scipy import stats

from pai_bench.config import loader
from pai_bench.core.background import beside
from pai_bench.core.hardware import Hardware
from pai_bench.core.project import ROOT
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import bundles
from pai_bench.experiment.cell import Cell
from pai_bench.launch import run
from pai_bench.launch.request import RunRequest
from pai_bench.leaderboard.wandb.live import LiveRuns
from pai_bench.registry import methods as registry

KEY = "0" * 40
SERVER = f"""
from wandb_server import Server
with Server("{KEY}") as server:
    print(server.url, flush=True)
    input()
    print(sum(map(len, server.history.values())), "records have come")
"""
PAIRS, EPOCHS, WORKERS = 5, 4000, 2
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Job:
    """What one job took, in seconds."""

    seconds: float
    """From the first training to the end of the last."""
    own: float
    """Of a processor: this process."""
    children: dict[tuple[int, str], tuple[float, bool]] = field(default_factory=dict)
    """Of a processor, by process; and whether it trains."""

    def of(self, trains: bool) -> float:
        """Processor seconds of the processes that train, or of the others."""
        return sum(seconds for seconds, does in self.children.values() if does == trains)


def descendants() -> Iterator[tuple[tuple[int, str], float, str]]:
    """Processes that this one has started, or they: process, its processor seconds, command."""
    parents, found = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # It has ended meanwhile.
            continue
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        found[pid] = (pid, fields[19]), (int(fields[11]) + int(fields[12])) / TICKS, command
    own = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    # What has ended, and is waited for, has no command any more.
    yield from (found[pid] for pid in own - {os.getpid()} if found[pid][2])


def look(job: Job, ended: Event) -> None:
    """Note what the processes have used, twice a second; what they did after that is lost."""
    while not ended.wait(0.5):
        for process, seconds, command in descendants():
            if "wandb_server" not in command:
                job.children[process] = seconds, "forkserver" in command


def timed(request: RunRequest, folder: Path, mode: str) -> Job:
    """Run a job; what is sent when all is trained counts too."""
    job, began = Job(0.0, 0.0), time.process_time()
    before = {process: seconds for process, seconds, _ in descendants()}
    with beside(partial(look, job), "look"), LiveRuns(request, folder / "wandb", mode) as live:
        console = Console(file=io.StringIO())
        job.seconds = run.run(request, WORKERS, console, stack="off", on_event=live.update).seconds
        live.wait()
    job.own = time.process_time() - began
    job.children = {
        process: (seconds - before.get(process, 0.0), trains)
        for process, (seconds, trains) in job.children.items()
    }
    return job


def shown(values: Sequence[float]) -> str:
    """Mean and its interval, in per cent."""
    half = math.nan
    if len(values) > 1:
        half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    mean = fmean(values)
    return f"{mean:.2%} [{mean - half:.2%}, {mean + half:.2%}]"


def main(pairs: int = PAIRS, epochs: int = EPOCHS) -> None:
    """Time the pairs, in turn the one or the other first."""
    methods = registry.available()
    settings = loader.load(ROOT / "benchmark.yaml", methods)
    chosen = grid.Selection(("random",), (0.1, 0.05), (1,))
    cells = [cell for cell in grid.cells(settings, methods, "quick", chosen) if not cell.hyper]

    def job(mode: str, epochs: int) -> Job:
        with tempfile.TemporaryDirectory() as name:
            store, hardware = Path(name) / "runs", Hardware("cpu", "1")
            bundled = tuple(bundles(longer(cells, epochs)))
            request = RunRequest("quick", bundled, settings, store, hardware)
            return timed(request, Path(name), mode)

    job("offline", 20)  # The first job of a process waits for the imports of its workers.
    slower, shares = [], []
    here = Path(__file__).parent
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with server:
        url = server.stdout.readline().decode().strip()
        os.environ.update(WANDB_API_KEY=KEY, WANDB_BASE_URL=url)
        os.environ.pop("WANDB_MODE", None)
        for pair in range(pairs):
            modes = ("offline", "online") if pair % 2 else ("online", "offline")
            found = {mode: job(mode, epochs) for mode in modes}
            on, off = found["online"], found["offline"]
            client, own = on.of(trains=False) - off.of(trains=False), on.own - off.own
            slower.append(on.seconds / off.seconds - 1)
            shares.append((client + own) / (WORKERS * on.seconds))
            print(
                f"{time.strftime('%H:%M:%S')} with {on.seconds:.1f} s, without {off.seconds:.1f} s"
                f" ({slower[-1]:+.2%}); processors: client {client:.2f} s, this process {own:.2f} s"
                f" ({shares[-1]:.2%})",
                flush=True,
            )
        print(server.communicate(b"\n")[0].decode().strip())
    print(f"slower by {shown(slower)}; share of the processors {shown(shares)}; {pairs} pairs")


def longer(cells: Sequence[Cell], epochs: int) -> list[Cell]:
    """The cells with a recipe of so many epochs."""
    recipe = cells[0].recipe.model_copy(update={"epochs": epochs})
    return [replace(cell, recipe=recipe) for cell in cells]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
