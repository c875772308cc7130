"""Train bundles into outcomes: the only place that runs the Trainer."""

from __future__ import annotations

import logging
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
import torch

from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.store.result import Result
from pai_bench.training.build import DataModule, build_data, build_module, build_trainer
from pai_bench.training.callbacks.mask_selection import Collapsed
from pai_bench.training.checkpoint import TrainingCheckpoint
from pai_bench.training.module import SparseClassifier
from pai_bench.training.outcome import Outcome, device_name, result_of
from pai_bench.training.progress import OnProgress, ignore


def fit(
    bundle: Bundle,
    settings: Benchmark,
    hardware: Hardware | None = None,
    plugins: tuple[Path, ...] = (),
    on_progress: OnProgress = ignore,
    runs: Path | None = None,
) -> list[Outcome]:
    """Train the networks of a bundle, one after another, in this process.

    An exception in a training becomes a failed result of its cell; KeyboardInterrupt is raised.

    Args:
        bundle: The cells to train.
        settings: Data sets, networks and threads.
        hardware: Device to train on; any unless given.
        plugins: Files with methods, networks or data sets of one's own.
        on_progress: Callback after each epoch, and for progress messages while masks are chosen.
        runs: Folder of results, which holds the search cache and checkpoints. A bundle resumes
            from its checkpoint if an earlier run was interrupted. Without it nothing is cached.

    Returns:
        One outcome per cell, in the bundle's order.

    Raises:
        BenchError: Accelerator, devices, strategy or precision are not available on this machine,
            which says nothing about the cells.
    """
    quiet()
    hardware = hardware or Hardware()
    return [
        _fit_alone(single, settings, hardware, plugins, on_progress, runs)
        for single in bundle.alone()
    ]


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


def _fit_alone(
    bundle: Bundle,
    settings: Benchmark,
    hardware: Hardware,
    plugins: tuple[Path, ...],
    on_progress: OnProgress,
    runs: Path | None,
) -> Outcome:
    started = time.perf_counter()
    try:
        trainer = build_trainer(bundle, hardware, on_progress)
    except Exception as error:
        raise BenchError(f"hardware as asked cannot be used: {first_line(error)}") from error
    try:
        return _fit(bundle, settings, trainer, plugins, runs)
    except (Exception, SystemExit) as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error  # Lightning turns Ctrl-C into an exit.
        return _failed(error, time.perf_counter() - started)


def _failed(error: BaseException, seconds: float) -> Outcome:
    reason = f"{type(error).__name__}: {first_line(error)}"
    software = environment.describe("unknown", torch.get_num_threads())
    trace = "" if isinstance(error, BenchError) else traceback.format_exc()
    return Outcome(
        Result("failed", reason, trace, seconds={"total": seconds}, environment=software)
    )


def _fit(
    bundle: Bundle,
    settings: Benchmark,
    trainer: pl.Trainer,
    plugins: tuple[Path, ...],
    runs: Path | None,
) -> Outcome:
    (cell,) = bundle
    started = time.perf_counter()
    torch.set_num_threads(settings.threads)
    environment.peak_memory_reset()
    (data,) = build_data(bundle, settings)
    loading_seconds = time.perf_counter() - started
    module = build_module(cell, settings, plugins, runs)
    device = trainer.strategy.root_device
    checkpoint = TrainingCheckpoint(runs, bundle, device_name(device), plugins) if runs else None
    with module.context.rng.as_global("training"), _released(data):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        skipped = _train(module, data, trainer, checkpoint)
        if trainer.global_step % len(data.train_dataloader()):
            # `steps` ended within an epoch: the Trainer evaluates after whole epochs only.
            trainer.validate(module, datamodule=data, verbose=False)
    module.cpu()
    module.set_masks(module.masks)
    seconds = {**module.phase_timer.seconds, "data": loading_seconds + data.seconds}
    seconds["train"] -= data.seconds
    seconds["score"] += module.reused_seconds
    seconds["total"] = time.perf_counter() - started + module.reused_seconds
    result = result_of(cell, settings, module, data, seconds, device)
    if checkpoint and checkpoint.times:
        result = checkpoint.noted(result)
    if skipped:
        result = replace(result, status="skipped", reason=skipped)
    return Outcome(result, module.learning_curves.points, module.masks)


def _train(
    module: SparseClassifier,
    data: DataModule,
    trainer: pl.Trainer,
    checkpoint: TrainingCheckpoint | None,
) -> str:
    """Train and return ""; evaluate a collapsed network that is skipped, and return the reason."""
    path = checkpoint.join(trainer) if checkpoint else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    except Collapsed as reason:
        trainer.validate(module, datamodule=data, verbose=False)
        return f"collapsed, and so not trained: {first_line(reason)}"
    return ""


@contextmanager
def _released(data: DataModule) -> Iterator[None]:
    """Stop the data module's worker processes; after an exception the Trainer does not."""
    try:
        yield
    finally:
        data.teardown("fit")


def quiet() -> None:
    """Silence Lightning's messages and warnings, which would be repeated for every cell."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="torch.utils.flop_counter")
