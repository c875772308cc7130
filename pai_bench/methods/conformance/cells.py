"""A whole cell: trained, stored, loaded, run again."""

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
    Subject,
    Wrong,
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
PARTS = ("data", "score", "train", "eval", "total")
STOP = 7
"""The step of an interrupt, in the midst of the second of two epochs of five steps."""


def cell(subject: Subject) -> str:
    """Two epochs on digits end with a complete result and the asked density."""
    where = f"{subject.cls.__name__} on digits"
    outcome, asked = subject.outcome, subject.cell()
    result = outcome.result
    if result.status != "done" or outcome.masks is None or outcome.curves is None:
        raise Wrong(f"{where}: {result.status}: {result.reason}{_line_of(subject, result)}")
    for name in CURVES:
        points = outcome.curves.get(name, [])
        if len(points) != asked.recipe.epochs or not all(map(math.isfinite, points)):
            raise Wrong(
                f"{where}: the curve {name} is {points}, one number an epoch is asked for; call "
                "super() in the hooks that you override"
            )
    for part in PARTS:
        if result.seconds.get(part, -1.0) < 0:
            raise Wrong(
                f"{where}: seconds of {part} are {result.seconds.get(part)}; call super() in the "
                "hooks that you override"
            )
    _density(subject, outcome.masks, {layer.name: layer.kept_start for layer in result.layers})
    json.dumps(result.to_json())
    return f"complete after {asked.recipe.epochs} epochs on digits"


def _line_of(subject: Subject, result: Result) -> str:
    """The line of the method's file that a traceback names last."""
    lines = [text for text in result.traceback.splitlines() if subject.info.path in text]
    return f" ({lines[-1].strip()})" if lines else ""


def _density(subject: Subject, masks: Masks, start: dict[str, int]) -> None:
    """Masks of a method that chose before training are those it chose; others end as asked.

    While training, weights are chosen layer by layer, and each may round by one; where masks come
    in steps, there may be fewer.
    """
    name, asked = subject.cls.__name__, subject.cell().density
    if subject.counts_at_start:
        if masks.kept_by_layer() != start:
            raise Wrong(
                f"{name} on digits: training changed the masks; declare when = 'during', or "
                "choose in sparsify() only"
            )
    elif not _is_near(subject, masks, kept_count(masks.total, asked)):
        raise Wrong(
            f"{name} on digits: {masks.kept} of {masks.total} weights are kept at the end, "
            f"{kept_count(masks.total, asked)} were asked for; count them at the last update"
        )


def _is_near(subject: Subject, masks: Masks, asked: int) -> bool:
    more = masks.kept - asked
    return more <= len(masks) and (more >= -len(masks) or not subject.cls.exact_density)


def cell_again(subject: Subject) -> str:
    """The same cell after another method gives the same curves and masks."""
    seed_everything(99)
    fit_cell(_of_another_method(subject), SETTINGS, Hardware("cpu", "1"))
    first, second = subject.outcome, subject.run_cell()
    assert first.masks is not None
    if second.masks is None or difference(first.masks, second.masks):
        raise Wrong(
            f"{subject.cls.__name__} on digits: run again after another method, its masks are "
            "others; keep nothing in the class or the module between runs"
        )
    if first.curves != second.curves:
        raise Wrong(
            f"{subject.cls.__name__} on digits: run again after another method, its curves are "
            "others; draw from self.context.rng, and keep nothing between runs"
        )
    return "the same curves and masks"


def _of_another_method(subject: Subject) -> Cell:
    return replace(subject.cell(seed=2), method="random", hyper={}, density=0.4)


def pruned_weights(subject: Subject) -> str:
    """Weights that are not kept are exactly 0 after training."""
    module, _ = subject.trained
    for name, weight in prunable(module.network):
        alive = int(weight[~module.masks[name]].count_nonzero())
        if alive:
            raise Wrong(
                f"{subject.cls.__name__} on digits: {alive} pruned weights of {name} are not 0 "
                "after training; call super() in the hooks that you override"
            )
    return "exactly 0 after training"


def checkpoint(subject: Subject) -> str:
    """A checkpoint of Lightning brings back weights and masks."""
    module, trainer = subject.trained
    mend = "call super() in on_save_checkpoint and on_load_checkpoint"
    try:
        loaded = _through_a_file(subject, trainer)
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        raise Wrong(
            f"{subject.cls.__name__}: its checkpoint cannot be used: {said}; {mend}"
        ) from error
    _same(subject, module, loaded, "loaded from a checkpoint", mend)
    return "brings back weights and masks"


def _through_a_file(subject: Subject, trainer: pl.Trainer) -> SparseClassifier:
    """Save what was trained; load it into a network that starts from other weights."""
    fresh = subject.untrained("init/other")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cell.ckpt"
        trainer.save_checkpoint(path)
        return subject.cls.load_from_checkpoint(
            path, network=fresh.network, context=fresh.context, **subject.few
        )


def interruption(subject: Subject) -> str:
    """A training that is interrupted resumes as if it had never stopped."""
    whole, _ = subject.trained
    with tempfile.TemporaryDirectory() as folder:
        for stop in (STOP, None):
            checkpoint = TrainingCheckpoint(Path(folder), Bundle((subject.cell(),)), "cpu")
            checkpoint.every = 0.0
            module, _ = subject.train(checkpoint, stop)
    how = f"interrupted at step {STOP} and resumed"
    mend = "save what it remembers in on_save_checkpoint, take it back in on_load_checkpoint"
    if not checkpoint.times:
        raise Wrong(
            f"{subject.cls.__name__}: its checkpoint at step {STOP} is not read back; save tensors "
            "and plain data only in on_save_checkpoint"
        )
    _same(subject, whole, module, how, mend)
    if whole.learning_curves.points != module.learning_curves.points:
        raise Wrong(f"{subject.cls.__name__}: {how}, its curves are others; {mend}")
    return "the same weights, masks and curves"


def picklable(subject: Subject) -> str:
    """Module and outcome can be sent to another process."""
    module, _ = subject.trained
    try:
        copied = pickle.loads(pickle.dumps(module))
        pickle.dumps(subject.outcome)
    except Exception as error:
        raise Wrong(
            f"{subject.cls.__name__} cannot be pickled: {first_line(error)}; keep lambdas, local "
            "functions and open files out of self"
        ) from error
    _same(subject, module, copied, "pickled", "mend __getstate__")
    return "module and outcome"


def _same(
    subject: Subject, one: SparseClassifier, other: SparseClassifier, how: str, mend: str
) -> None:
    state, copied = one.network.state_dict(), other.network.state_dict()
    changed = difference(one.masks, other.masks) or difference(state, copied)
    if changed:
        raise Wrong(f"{subject.cls.__name__}: {how}, {changed} is another; {mend}")
