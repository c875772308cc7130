"""Train bundles into outcomes."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import replace
from pathlib import Path

from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.training.alone import fit_alone
from pai_bench.training.checkpoint import IsLost, never
from pai_bench.training.outcome import Outcome
from pai_bench.training.progress import OnProgress, Progress, ignore
from pai_bench.training.ranks import fit_on_ranks
from pai_bench.training.setup import TrainingSetup
from pai_bench.training.together.fit import fit_together


def fit(
    bundle: Bundle,
    settings: Benchmark,
    hardware: Hardware | None = None,
    plugins: tuple[Path, ...] = (),
    on_progress: OnProgress = ignore,
    runs: Path | None = None,
    stacked: bool = False,
    deadline: float = math.inf,
    is_lost: IsLost = never,
) -> list[Outcome]:
    """Train the networks of a bundle in this process, together where that can be done.

    An exception in a training becomes a failed result of its cell; KeyboardInterrupt is raised.

    Args:
        bundle: The cells to train.
        settings: Data sets, networks and threads.
        hardware: Device to train on; any unless given.
        plugins: Files with methods, networks or data sets of one's own.
        on_progress: Callback after each epoch, and for progress messages while masks are chosen.
        runs: Folder of results, which holds the search cache and checkpoints. A bundle resumes
            from its checkpoint if an earlier run was interrupted. Without it nothing is cached.
        stacked: Train the networks as one stack, if they can be stacked: faster on a GPU, and equal
            to a training alone within rounding. Otherwise they are trained in step, which on a CPU
            is the same bit by bit.
        deadline: Time (of `time.time`) at which the training stops with a checkpoint in `runs`.
        is_lost: Whether another process has taken over what is trained.

    Returns:
        One outcome per cell, in the bundle's order.

    Raises:
        BenchError: Accelerator, devices, strategy or precision are not available on this machine,
            which says nothing about the cells.
        OutOfTime: The deadline has passed; the next call with the same bundle resumes.
        LeaseLost: Another process has taken the bundle over.
    """
    quiet()
    setup = TrainingSetup(
        settings, hardware or Hardware(), plugins, on_progress, runs, deadline, is_lost
    )
    if setup.hardware.trains_alone:
        each = fit_on_ranks if setup.hardware.is_distributed else fit_alone
        return [each(single, setup) for single in bundle.alone()]
    if len(bundle) == 1:
        return [fit_alone(bundle, setup)]
    outcomes, alone = fit_together(bundle, setup, stacked)
    singles = [single for single in bundle.alone() if single.id in alone]
    for number, single in enumerate(singles):
        part = _as_part(bundle, number, len(singles), on_progress)
        of_single = replace(setup, on_progress=part)
        outcomes[single.id] = fit_alone(single, of_single, alone[single.id])
    return [outcomes[cell.id] for cell in bundle]


def _as_part(bundle: Bundle, number: int, of: int, on_progress: OnProgress) -> OnProgress:
    """Report the progress of a network that is trained alone as that of its bundle."""

    def report(progress: Progress) -> None:
        epochs = progress.epochs
        message = f"{progress.bundle}: {progress.message}" if progress.message else ""
        done = number * epochs + progress.epoch
        on_progress(Progress(bundle, done, of * epochs, message, progress.points))

    return report


def fit_cell(
    cell: Cell,
    settings: Benchmark,
    hardware: Hardware | None = None,
    plugins: tuple[Path, ...] = (),
    on_progress: OnProgress = ignore,
    runs: Path | None = None,
) -> Outcome:
    """Train one network: `fit` of a bundle of one cell."""
    (outcome,) = fit(Bundle((cell,)), settings, hardware, plugins, on_progress, runs)
    return outcome


def quiet() -> None:
    """Silence Lightning's messages and warnings, which would be repeated for every cell."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="torch.utils.flop_counter")
    # Of no use here: workers are started by us, on a node of Slurm too.
    warnings.filterwarnings("ignore", message="The `srun` command is available")
