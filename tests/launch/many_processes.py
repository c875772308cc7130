"""Many processes run one list of cells, and are killed or suspended (a program: see test_many).

    python many_processes.py FOLDER SEED kill|suspend

Each is a fork of this one, which has imported all that they need, and acts as if on a host of its
own, or on that of another. What they do they write to FOLDER/log, a line each:

    begun|trained|stored <cell> <process>
"""

import io
import json
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from pai_bench.core import portable

portable.choose(threads=1)

import torch  # noqa: E402
from rich.console import Console  # noqa: E402

from pai_bench.config import loader  # noqa: E402
from pai_bench.core.hardware import Hardware  # noqa: E402
from pai_bench.core.project import SETTINGS  # noqa: E402
from pai_bench.experiment import grid  # noqa: E402
from pai_bench.experiment.bundle import bundles  # noqa: E402
from pai_bench.launch import run as launch_run  # noqa: E402
from pai_bench.launch import run_bundle as run_bundle_module  # noqa: E402
from pai_bench.launch.events import Finished, Started  # noqa: E402
from pai_bench.launch.request import RunRequest  # noqa: E402
from pai_bench.registry import methods as registry  # noqa: E402
from pai_bench.store import lease_entry  # noqa: E402
from pai_bench.store.store import Store  # noqa: E402
from pai_bench.training.checkpoint import TrainingCheckpoint  # noqa: E402

PROCESSES, KILLS = 8, 7
TAKE_OVER = {"kill": 4.0, "suspend": 1.5}
SEEDS = {"kill": (1, 2, 3, 4, 5, 6), "suspend": (1, 2, 3)}
EPOCHS = {"kill": 5, "suspend": 12}
SUITE = "quick"
BUNDLE = 2


class InThisProcess:
    """Launcher without workers, which writes what happens to the log."""

    log = -1

    def launch(self, request, jobs):
        for bundle in request.bundles:
            yield Started(bundle)
            events = []
            run_bundle_module.run_bundle(request, bundle, request.hardware, events.append)
            for event in events:
                if isinstance(event, Finished) and not event.by_others:
                    note("stored", [event.cell])
                yield event


def note(what, cells):
    lines = "".join(f"{what} {cell.id} {os.getpid()}\n" for cell in cells)
    os.write(InThisProcess.log, lines.encode())


def fit_and_note(bundle, *arguments):
    note("begun", bundle)
    outcomes = fit(bundle, *arguments)
    note("trained", bundle)
    return outcomes


fit = run_bundle_module.fit


def prepare(log):
    """Let runs train in this process, in small bundles, write checkpoints, and say what they do."""
    InThisProcess.log = log
    run_bundle_module.fit = fit_and_note
    launch_run.load_launcher = lambda _name: InThisProcess()
    launch_run.bundle_size = lambda *_: BUNDLE
    TrainingCheckpoint.every = 0.15


def request_of(runs, what):
    """Cells that are trained within a second or so."""
    methods = registry.available()
    settings = loader.load(SETTINGS, methods).model_copy(update={"take_over": TAKE_OVER[what]})
    chosen = grid.Selection(("snip",), (0.2, 0.05), SEEDS[what])
    cells = grid.cells(settings, methods, SUITE, chosen)
    recipe = cells[0].recipe.model_copy(update={"epochs": EPOCHS[what], "milestones": ()})
    work = bundles([replace(cell, recipe=recipe) for cell in cells])
    return RunRequest(SUITE, tuple(work), settings, runs, Hardware("cpu", "1"))


def start(request, host):
    """Fork a process that runs all of a request, as if on `host`."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        boot = lease_entry._boot()
        lease_entry.socket.gethostname = lambda: host
        lease_entry._boot = lambda: f"{host} {boot}"
        torch.set_num_threads(1)
        tally = launch_run.run(request, 1, Console(file=io.StringIO()))
        code = 0 if not tally.left else 2
    finally:
        os._exit(code)


def main(folder, seed, what):
    chance = random.Random(seed)
    prepare(os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
    request = request_of(folder / "runs", what)
    (kill if what == "kill" else suspend)(request, folder, chance)


def kill(request, folder, chance):
    """Kill processes in the midst of trainings, and start others, on the same hosts or new ones."""
    hosts = [f"host-{number}" for number in range(PROCESSES)]
    running = {start(request, host): host for host in hosts}
    killed = 0
    while running:
        time.sleep(chance.uniform(0.02, 0.15))
        running = {process: host for process, host in running.items() if not ended(process)}
        training = sorted(process for process in running if begun(folder, process))
        if killed < KILLS and training:
            victim = chance.choice(training)
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
            killed += 1
            host = running.pop(victim)
            host = host if chance.random() < 0.5 else f"host-new-{killed}"
            running[start(request, host)] = host
    print(killed)


def suspend(request, folder, chance):
    """Suspend the first process when it has a checkpoint; wake it when others are done."""
    first = start(request, "host-0")
    while True:
        os.kill(first, signal.SIGSTOP)
        cells = begun(folder, first)
        if cells and list(request.runs.glob("checkpoints/[0-9a-f]*.ckpt")):
            break
        os.kill(first, signal.SIGCONT)
        time.sleep(0.02)
        if ended(first):
            sys.exit("it was never seen in the midst of a training with a checkpoint")
    others = [start(request, f"host-{number}") for number in (1, 2)]
    while not all([ended(other) for other in others]):
        time.sleep(0.05)
    lines = len((folder / "log").read_text().splitlines())
    print(json.dumps({"stored": Store(request.runs, SUITE).ids(), "lines": lines, "cells": cells}))
    os.kill(first, signal.SIGCONT)
    os.waitpid(first, 0)


def begun(folder, process):
    """Cells whose training a process has begun, and neither ended nor stored."""
    cells = set()
    for line in (folder / "log").read_text().splitlines():
        what, cell, owner = line.split()
        if owner == str(process):
            (cells.add if what == "begun" else cells.discard)(cell)
    return sorted(cells)


def ended(process):
    if process in ENDED:
        return True
    found, status = os.waitpid(process, os.WNOHANG)
    if found and status:
        sys.exit(f"process {process} ended with status {status}")
    ENDED.update([found] if found else [])
    return bool(found)


ENDED = set()

if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
