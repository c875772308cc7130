"""Train the networks of a bundle together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from pai_bench.core import environment
from pai_bench.data.module import InMemoryData
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.training.alone import skipped_because
from pai_bench.training.build import build_data
from pai_bench.training.checkpoint import TrainingCheckpoint
from pai_bench.training.failure import failure_of
from pai_bench.training.module import SparseClassifier
from pai_bench.training.outcome import Outcome, Together, result_of
from pai_bench.training.setup import TrainingSetup, set_process
from pai_bench.training.together.data import BundleData
from pai_bench.training.together.member import REPLACED, REPLACED_IN_STACKS, Member, overridden
from pai_bench.training.together.module import BundleClassifier, NothingLeft
from pai_bench.training.together.stacked_layers import NotStackable
from pai_bench.training.together.stacked_network import check_stackable

Outcomes = dict[str, Outcome]
"""By id of the cell."""
Reasons = dict[str, str]


def fit_together(bundle: Bundle, setup: TrainingSetup, stacked: bool) -> tuple[Outcomes, Reasons]:
    """Train those cells of a bundle together that can be.

    Args:
        bundle: Two or more cells.
        setup: How to train them.
        stacked: Train them as one stack, if the network can be stacked; else in step.

    Returns:
        Outcomes of the cells that were trained, or failed; and for each of the others why it has to
        be trained alone.

    Raises:
        BenchError: The hardware is not available.
        KeyboardInterrupt: The training was interrupted.
    """
    training = _Training(bundle, setup, stacked)
    try:
        training.build()
        training.train()
    except NotTogether as reason:
        return training.outcomes, training.all_alone(str(reason))
    except torch.OutOfMemoryError:
        return training.outcomes, training.all_alone("together they need too much memory")
    except (Exception, SystemExit) as error:
        training.fail(error)
    return training.outcomes, training.alone


class NotTogether(Exception):
    """The cells of a bundle cannot be trained together, and why."""


@dataclass
class _Training:
    """A bundle on its way to outcomes."""

    bundle: Bundle
    setup: TrainingSetup
    stacked: bool
    outcomes: Outcomes = field(default_factory=dict)
    alone: Reasons = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    note: str = ""
    is_graphed: bool = False

    def __post_init__(self) -> None:
        self._started = time.perf_counter()
        self._trainer = self.setup.trainer(self.bundle)
        self._device = self._trainer.strategy.root_device

    def build(self) -> None:
        """Build the methods; those that must be are left to be trained alone."""
        set_process(self.setup.settings)
        environment.peak_memory_reset()
        if self._device.type == "xla":
            raise NotTogether("on an XLA device each network has a graph of its own")
        if self.bundle.cells[0].precision == "16-mixed":
            raise NotTogether("16-mixed scales the loss by what one network needs")
        if self.bundle.cells[0].recipe.batch_norm_parts > 1:
            raise NotTogether("batch norm takes the statistics of parts of a batch")
        data = build_data(self.bundle, self.setup.settings)
        for cell, of_cell in zip(self.bundle, data, strict=True):
            if not isinstance(of_cell, InMemoryData):
                raise NotTogether("photographs are decoded batch by batch")
            try:
                self._add(cell, of_cell)
            except Exception as error:
                self.outcomes[cell.id] = failure_of(error).outcome(self._seconds())
        self._loading_seconds = self._seconds()
        if len(self.members) < 2:
            raise NotTogether("no other cell of the bundle can be trained with it")
        if self.stacked:
            self._check_stackable()

    def _check_stackable(self) -> None:
        """Train in step where the networks, or their methods, cannot be stacked."""
        try:
            for member in self.members:
                own = [n for n in REPLACED_IN_STACKS if overridden(type(member.module), n)]
                if own:
                    raise NotStackable(f"{member.cell.method} has its own {own[0]}")
            networks = [member.module.network for member in self.members[:2]]
            dtype = next(networks[0].parameters()).dtype
            check_stackable(networks, self._images().to(dtype))
        except NotStackable as reason:
            self.stacked, self.note = False, f"not stacked: {reason}"

    def _add(self, cell: Cell, data: InMemoryData) -> None:
        module = self.setup.module(cell, self._device)
        own = [name for name in REPLACED if overridden(type(module), name)]
        if own:
            self.alone[cell.id] = f"{cell.method} has its own {own[0]}"
        else:
            self.members.append(Member(cell, module, data))

    def _images(self) -> torch.Tensor:
        batch: Any = next(iter(self.members[0].data.val_dataloader()))
        images: torch.Tensor = batch[0][:2]
        return images

    def train(self) -> None:
        """Train the members, and make an outcome of each."""
        data = BundleData([member.data for member in self.members])
        module = BundleClassifier(self.members, self.stacked, self.setup.settings.graphs)
        checkpoint = self.setup.checkpoint(self.bundle, self._device)
        path = checkpoint.join(self._trainer) if checkpoint else None
        with self.members[0].module.context.rng.as_global("training"):
            if self._device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self._device)
            try:
                self._trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
            except NothingLeft:
                pass
            else:
                if self._trainer.global_step % len(data.train_dataloader()):
                    # `steps` ended within an epoch: the Trainer evaluates after whole epochs only.
                    self._trainer.validate(module, datamodule=data, verbose=False)
            self._evaluate_skipped()
        self.is_graphed = module.is_graphed
        earlier = checkpoint.seconds if checkpoint else 0.0
        seconds = self._seconds_of_members(module, data, earlier + self._seconds())
        for member, spent in zip(self.members, seconds, strict=True):
            self.outcomes[member.cell.id] = self._outcome(member, spent, checkpoint)

    def _evaluate_skipped(self) -> None:
        for member in self.members:
            if member.skipped:
                trainer = self.setup.trainer(Bundle((member.cell,)))
                trainer.validate(member.module, datamodule=member.data, verbose=False)

    def _seconds_of_members(
        self, module: BundleClassifier, data: BundleData, total: float
    ) -> list[dict[str, float]]:
        """Seconds of each member: what it spent by itself, and its share of what all spent."""
        shared = {**module.phase_timer.seconds, "data": self._loading_seconds + data.seconds}
        shared["train"] -= data.seconds
        scores = [member.module.phase_timer.seconds["score"] for member in self.members]
        shared["total"] = total - sum(scores)
        return [self._share(shared, m.module) for m in self.members]

    def _share(self, shared: Mapping[str, float], module: SparseClassifier) -> dict[str, float]:
        own = module.phase_timer.seconds["score"] + module.reused_seconds
        seconds = {name: value / len(self.members) for name, value in shared.items()}
        return {**seconds, "score": own, "total": seconds["total"] + own}

    def _outcome(
        self, member: Member, seconds: dict[str, float], checkpoint: TrainingCheckpoint | None
    ) -> Outcome:
        if member.failure:
            return member.failure.outcome(seconds["total"])
        module = member.module
        module.cpu()
        module.set_masks(module.masks)
        result = result_of(
            member.cell, self.setup.settings, module, member.data, seconds, self._device,
            Together(
                "stack" if self.stacked else "in step", len(self.members), self.note,
                graph=self.is_graphed,
            ),
        )  # fmt: skip
        if checkpoint:
            result = checkpoint.noted(result)
        if member.skipped:
            result = replace(result, status="skipped", reason=skipped_because(member.skipped))
        return Outcome(result, module.learning_curves.points, module.masks)

    def all_alone(self, reason: str) -> Reasons:
        """Leave all cells without an outcome to be trained alone."""
        return {cell.id: self.alone.get(cell.id, reason) for cell in self.bundle
                if cell.id not in self.outcomes}  # fmt: skip

    def fail(self, error: BaseException) -> None:
        """Let the members without an outcome fail."""
        outcome = failure_of(error).outcome(self._seconds())
        for member in self.members:
            self.outcomes.setdefault(member.cell.id, outcome)

    def _seconds(self) -> float:
        return time.perf_counter() - self._started
