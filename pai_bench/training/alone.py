"""Train one network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytorch_lightning as pl
import torch

from pai_bench.core import distributed, environment
from pai_bench.core.errors import BenchError, first_line
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.networks.batch_norm import check_pieces, normalise_as_usual
from pai_bench.training.build import DataModule, build_data
from pai_bench.training.callbacks.mask_selection import Collapsed
from pai_bench.training.checkpoint import TrainingCheckpoint
from pai_bench.training.failure import failure_of
from pai_bench.training.module import SparseClassifier
from pai_bench.training.outcome import Outcome, Together, result_of
from pai_bench.training.pieces import Pieces
from pai_bench.training.setup import TrainingSetup, set_process


def fit_alone(bundle: Bundle, setup: TrainingSetup, reason: str = "") -> Outcome:
    """Train the network of a bundle of one cell.

    Args:
        bundle: The cell.
        setup: How to train it.
        reason: Why it is not trained with the others of its bundle; recorded in the result.

    Raises:
        BenchError: The hardware is not available.
        KeyboardInterrupt: The training was interrupted.
    """
    started = time.perf_counter()
    trainer = setup.trainer(bundle)
    try:
        with setup.joined(trainer.strategy.root_device):
            return _fit(bundle, trainer, setup, reason)
    except (Exception, SystemExit) as error:
        return failure_of(error).outcome(time.perf_counter() - started)


def _fit(bundle: Bundle, trainer: pl.Trainer, setup: TrainingSetup, reason: str) -> Outcome:
    (cell,) = bundle
    started = time.perf_counter()
    set_process(setup.settings)
    environment.peak_memory_reset()
    (data,) = build_data(bundle, setup.settings, setup.ranks_here)
    loading_seconds = time.perf_counter() - started
    device = trainer.strategy.root_device
    module = setup.module(cell, device)
    module.pieces = Pieces(setup.hardware.accumulate)
    _check(module, cell)
    checkpoint = setup.checkpoint(bundle, device)
    with module.context.rng.as_global(setup.stream("training")), _released(data):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        skipped = _train(module, data, trainer, checkpoint)
        if trainer.global_step % len(data.train_dataloader()):
            # `steps` ended within an epoch: the Trainer evaluates after whole epochs only.
            trainer.validate(module, datamodule=data, verbose=False)
    module.collect()
    module.cpu()
    module.set_masks(module.masks)
    normalise_as_usual(module.network)
    seconds = {**module.phase_timer.seconds, "data": loading_seconds + data.seconds}
    seconds["train"] -= data.seconds
    seconds["score"] += module.reused_seconds
    earlier = checkpoint.seconds if checkpoint else 0.0
    seconds["total"] = earlier + time.perf_counter() - started + module.reused_seconds
    together = Together(
        "alone", 1, reason, distributed.ranks(), module.pieces.count, setup.hardware.nodes
    )
    result = result_of(cell, setup.settings, module, data, seconds, device, together)
    if checkpoint:
        result = checkpoint.noted(result)
    if skipped:
        result = replace(result, status="skipped", reason=skipped)
    return Outcome(result, module.learning_curves.points, module.masks)


def _check(module: SparseClassifier, cell: Cell) -> None:
    """Raise BenchError for what cannot be trained on several devices, or in pieces of batches."""
    ranks, pieces = distributed.ranks(), module.pieces.count
    if ranks == pieces == 1:
        return
    if type(module).training_step is not SparseClassifier.training_step:
        raise BenchError(f"{cell.method} has its own training_step: it trains on one device")
    if pieces > 1 and cell.precision == "16-mixed":
        raise BenchError("--accumulate: 16-mixed scales the loss of a whole batch; use bf16-mixed")
    check_pieces(module.network, cell.recipe.batch_norm_parts, ranks, pieces)


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
    except Collapsed as collapsed:
        trainer.validate(module, datamodule=data, verbose=False)
        return skipped_because(first_line(collapsed))
    return ""


def skipped_because(collapsed: str) -> str:
    """Say why a network was evaluated without training."""
    return f"collapsed, and so not trained: {collapsed}"


@contextmanager
def _released(data: DataModule) -> Iterator[None]:
    """Stop the data module's worker processes; after an exception the Trainer does not."""
    try:
        yield
    finally:
        data.teardown("fit")
