"""Checks of a whole cell: train, store, load, repeat."""

from __future__ import annotations

import json
import math
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl

from pai_bench.core.errors import first_line
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.methods.conformance.subject import (
    SETTINGS,
    Failure,
    Subject,
    difference,
    seed_everything,
)
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.select import kept_count
from pai_bench.store.result import Result
from pai_bench.training.checkpoint import TrainingCheckpoint
from pai_bench.training.fit import fit_cell
from pai_bench.training.module import SparseClassifier

CURVES = ("train_loss", "test_accuracy", "test_loss")
PHASES = ("data", "score", "train", "eval", "total")
STOP = 7
"""Step of the interrupt, within the second of two epochs of five steps."""


def cell(subject: Subject) -> str:
    """Two epochs on digits end with a complete result at the target density."""
    where = f"{subject.cls.__name__} on digits"
    outcome, trained_cell = subject.outcome, subject.cell()
    result = outcome.result
    if result.status != "done" or outcome.masks is None or outcome.curves is None:
        raise Failure(f"{where}: {result.status}: {result.reason}{_line_of(subject, result)}")
    for name in CURVES:
        points = outcome.curves.get(name, [])
        if len(points) != trained_cell.recipe.epochs or not all(map(math.isfinite, points)):
            raise Failure(
                f"{where}: the curve {name} is {points}, it must have one finite number per "
                "epoch; call super() in the hooks that you override"
            )
    for phase in PHASES:
        if result.seconds.get(phase, -1.0) < 0:
            raise Failure(
                f"{where}: seconds of {phase} are {result.seconds.get(phase)}; call super() in "
                "the hooks that you override"
            )
    _density(subject, outcome.masks, {layer.name: layer.kept_start for layer in result.layers})
    json.dumps(result.to_json())
    return f"complete after {trained_cell.recipe.epochs} epochs on digits"


def _line_of(subject: Subject, result: Result) -> str:
    """The last line of a traceback that is in the method's file."""
    lines = [line for line in result.traceback.splitlines() if subject.info.path in line]
    return f" ({lines[-1].strip()})" if lines else ""


def _density(subject: Subject, masks: Masks, start: dict[str, int]) -> None:
    """Check the density at the end: masks chosen before training must not have changed.

    Masks chosen in training may differ from the target by one weight per layer, by rounding; a
    method without `exact_density` may keep fewer.
    """
    name = subject.cls.__name__
    target = kept_count(masks.total, subject.cell().density)
    if subject.counts_at_start:
        if masks.kept_by_layer() != start:
            raise Failure(
                f"{name} on digits: training changed the masks; declare when = 'during', or "
                "choose masks in sparsify() only"
            )
    elif not _is_near(subject, masks, target):
        raise Failure(
            f"{name} on digits: {masks.kept} of {masks.total} weights are kept at the end, the "
            f"target is {target}; let the last update reach it"
        )


def _is_near(subject: Subject, masks: Masks, target: int) -> bool:
    excess = masks.kept - target
    return excess <= len(masks) and (excess >= -len(masks) or not subject.cls.exact_density)


def cell_again(subject: Subject) -> str:
    """The same cell after another method gives the same curves and masks."""
    seed_everything(99)
    fit_cell(_of_another_method(subject), SETTINGS, Hardware("cpu", "1"))
    first, second = subject.outcome, subject.run_cell()
    assert first.masks is not None
    if second.masks is None or difference(first.masks, second.masks):
        raise Failure(
            f"{subject.cls.__name__} on digits: run again after another method, its masks "
            "differ; keep no state in the class or the module between runs"
        )
    if first.curves != second.curves:
        raise Failure(
            f"{subject.cls.__name__} on digits: run again after another method, its curves "
            "differ; draw from self.context.rng, and keep no state between runs"
        )
    return "the same curves and masks"


def _of_another_method(subject: Subject) -> Cell:
    return replace(subject.cell(seed=2), method="random", hyper={}, density=0.4)


def pruned_weights(subject: Subject) -> str:
    """Weights that are not kept are exactly 0 after training."""
    module, _ = subject.trained
    for name, weight in prunable(module.network):
        nonzero = int(weight[~module.masks[name]].count_nonzero())
        if nonzero:
            raise Failure(
                f"{subject.cls.__name__} on digits: {nonzero} pruned weights of {name} are not 0 "
                "after training; call super() in the hooks that you override"
            )
    return "exactly 0 after training"


def checkpoint(subject: Subject) -> str:
    """A Lightning checkpoint restores weights and masks."""
    module, trainer = subject.trained
    fix = "call super() in on_save_checkpoint and on_load_checkpoint"
    try:
        loaded = _through_a_file(subject, trainer)
    except Exception as error:
        cause = f"{type(error).__name__}: {first_line(error)}"
        raise Failure(
            f"{subject.cls.__name__}: its checkpoint cannot be loaded: {cause}; {fix}"
        ) from error
    _same(subject, module, loaded, "loaded from a checkpoint", fix)
    return "restores weights and masks"


def _through_a_file(subject: Subject, trainer: pl.Trainer) -> SparseClassifier:
    """Save the trained module; load it into a network with other initial weights."""
    fresh = subject.untrained("init/other")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cell.ckpt"
        trainer.save_checkpoint(path)
        return subject.cls.load_from_checkpoint(
            path, network=fresh.network, context=fresh.context, **subject.reduced
        )


def interruption(subject: Subject) -> str:
    """An interrupted and resumed training ends like one without an interrupt."""
    whole, _ = subject.trained
    with tempfile.TemporaryDirectory() as folder:
        for stop in (STOP, None):
            checkpoint = TrainingCheckpoint(Path(folder), Bundle((subject.cell(),)), "cpu")
            checkpoint.every = 0.0
            module, _ = subject.train(checkpoint, stop)
    how = f"interrupted at step {STOP} and resumed"
    fix = "save all state in on_save_checkpoint, restore it in on_load_checkpoint"
    if not checkpoint.times:
        raise Failure(
            f"{subject.cls.__name__}: its checkpoint at step {STOP} is not resumed from; save "
            "tensors and plain data only in on_save_checkpoint"
        )
    _same(subject, whole, module, how, fix)
    if whole.learning_curves.points != module.learning_curves.points:
        raise Failure(f"{subject.cls.__name__}: {how}, its curves differ; {fix}")
    return "the same weights, masks and curves"


def picklable(subject: Subject) -> str:
    """Module and outcome can be sent to another process."""
    module, _ = subject.trained
    try:
        copied = pickle.loads(pickle.dumps(module))
        pickle.dumps(subject.outcome)
    except Exception as error:
        raise Failure(
            f"{subject.cls.__name__} cannot be pickled: {first_line(error)}; keep lambdas, local "
            "functions and open files out of self"
        ) from error
    _same(subject, module, copied, "pickled", "fix __getstate__")
    return "module and outcome"


def _same(
    subject: Subject, one: SparseClassifier, other: SparseClassifier, how: str, fix: str
) -> None:
    state, copied = one.network.state_dict(), other.network.state_dict()
    changed = difference(one.masks, other.masks) or difference(state, copied)
    if changed:
        raise Failure(f"{subject.cls.__name__}: {how}, {changed} differs; {fix}")
