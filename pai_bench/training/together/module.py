"""K methods as one LightningModule: each step is a step of all their networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pai_bench.training.callbacks.learning_curves import LearningCurves
from pai_bench.training.callbacks.mask_selection import MaskSelection
from pai_bench.training.callbacks.phase_timer import PhaseTimer
from pai_bench.training.failure import Failure
from pai_bench.training.together.data import BundleBatch
from pai_bench.training.together.graph import GraphedStep, can_be_graphed, graph_device
from pai_bench.training.together.in_step import InStep
from pai_bench.training.together.member import Member
from pai_bench.training.together.optimizer import BundleOptimizer, MemberOptimizers
from pai_bench.training.together.stack import Stack


class NothingLeft(Exception):
    """No network of a bundle is left to train."""


class BundleClassifier(pl.LightningModule):
    """Trains the networks of K methods together; each method sees its own network, as if alone.

    Masks are chosen one method after another, before the first step. In each step the methods'
    hooks are called as Lightning calls them for a network that is trained alone. A method that
    raises, or whose loss is not finite, is taken out; the others go on.

    The class is longer than others because it is Lightning's hooks, each for all members, in the
    order in which the Trainer calls them.

    Args:
        members: Methods that can be trained together, on networks that were built alike.
        stacked: Whether the networks become one stack, or are trained in step.
        graphs: Whether the steps of a stack are to be a graph of the device, where they can be.
    """

    def __init__(self, members: Sequence[Member], stacked: bool, graphs: bool = False) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.members, self.stacked, self._graphs = members, stacked, graphs
        self._graphed: GraphedStep | None = None
        self.methods = nn.ModuleList(member.module for member in members)
        self.phase_timer = PhaseTimer()
        self.progress_callback: Callable[[str], None] = lambda _message: None
        self._optimizers: MemberOptimizers
        self._saved_schedules: list[Any] | None = None
        self._joint: InStep | Stack

    @property
    def training_members(self) -> list[Member]:
        """Those that still take part."""
        return [member for member in self.members if member.is_training]

    @property
    def learning_curves(self) -> dict[str, LearningCurves]:
        """The curves of each network, by id of its cell."""
        return {member.cell.id: member.module.learning_curves for member in self.members}

    def configure_callbacks(self) -> list[pl.Callback]:
        """Time the phases of all together."""
        return [self.phase_timer]

    # Before the first step -----------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Show each method its Trainer."""
        self._default_dtype = torch.get_default_dtype()
        for member in self.members:
            member.attach(self.trainer)
            member.module.progress_callback = self._progress_of(member)

    def _progress_of(self, member: Member) -> Callable[[str], None]:
        def report(message: str) -> None:
            self.progress_callback(f"{member.cell}: {message}")

        return report

    def configure_optimizers(self) -> BundleOptimizer:
        """Build the optimizers and schedules."""
        self._optimizers = MemberOptimizers(self.members)
        if self._saved_schedules is not None:
            self._optimizers.load_schedules(self._saved_schedules)
        return BundleOptimizer(self._optimizers.all, self._step_all)

    def on_fit_start(self) -> None:
        """Let each method choose its masks.

        Raises:
            NothingLeft: No method got that far.
        """
        selection = MaskSelection()
        for member in self.training_members:
            member.run(selection.on_fit_start, member.module.trainer, member.module)
            member.call("on_fit_start")
        self._check_members()
        self._joint = self._stack() if self.stacked else InStep(self.members)
        self.phase_timer.restart(self)

    def _stack(self) -> Stack:
        stack = Stack(self.members)
        if all(member.leaves_steps_alone for member in self.members):
            (optimizer,) = self._optimizers.all
            stack.take_over(optimizer)
            device = graph_device(self.device) if self._graphs else None
            if device is not None and can_be_graphed(optimizer):
                step = partial(self._whole_step, stack, optimizer)
                self._graphed = GraphedStep(step, optimizer, device)
        return stack

    @property
    def is_graphed(self) -> bool:
        """Whether the steps are a graph of the device."""
        return self._graphed is not None

    def on_train_start(self) -> None:
        """Call the methods' hooks."""
        self._call("on_train_start")

    # A step --------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Reset the mean losses, and call the methods' hooks."""
        for member in self.members:
            member.module.learning_curves.on_train_epoch_start(self.trainer, member.module)
        self._call("on_train_epoch_start")

    def on_train_batch_start(self, batch: BundleBatch, batch_idx: int) -> None:
        """Call the methods' hooks, each with its own batch."""
        for index, member in enumerate(self.members):
            member.call("on_train_batch_start", batch.of(index), batch_idx)

    def training_step(self, batch: BundleBatch, batch_idx: int) -> None:
        """Train all networks on a batch of each."""
        losses = self._graphed_step(batch) if self.is_graphed else self._eager(batch, batch_idx)
        with self._outside_of_precision():
            for index, loss in losses.items():
                self._end_batch(self.members[index], loss.detach(), batch.of(index), batch_idx)

    def _eager(self, batch: BundleBatch, batch_idx: int) -> Mapping[int, Tensor]:
        self._joint.zero_grad()
        losses = self._joint.losses(batch, batch_idx)
        self._check_members()
        with self._outside_of_precision():
            self._step(losses)
        return losses

    def _graphed_step(self, batch: BundleBatch) -> Mapping[int, Tensor]:
        """The Trainer counts steps of its optimizer: the graph is replayed within one of these."""
        self._check_members()
        self._batch = batch
        optimizer: Any = self.optimizers()
        optimizer.step()
        self._optimizers.step_schedules("step")
        assert isinstance(self._joint, Stack)
        return {index: self._losses[index] for index in self._joint.count(batch)}

    def _whole_step(
        self, stack: Stack, optimizer: torch.optim.Optimizer, batch: BundleBatch
    ) -> Tensor:
        """A step of a stack whose methods leave it alone; returns the losses (K,)."""
        stack.zero_grad()
        losses = stack.means(batch)
        with self._outside_of_precision():
            losses.sum().backward()
            stack.mask_gradients()
            optimizer.step()
        return losses.detach()

    def _step(self, losses: Mapping[int, Tensor]) -> None:
        optimizer: Any = self.optimizers()
        self._call("on_before_zero_grad")
        self.manual_backward(torch.stack(list(losses.values())).sum())
        self._joint.after_backward()
        self._call("on_after_backward")
        optimizer.step()
        self._optimizers.step_schedules("step")

    @contextmanager
    def _outside_of_precision(self) -> Iterator[None]:
        """Leave the context of the Trainer's precision, which it has for the forward pass alone."""
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(self._default_dtype)
        try:
            with torch.autocast(self.device.type, enabled=False):
                yield
        finally:
            torch.set_default_dtype(dtype)

    def _end_batch(
        self, member: Member, loss: Tensor, batch: tuple[Tensor, Tensor], batch_idx: int
    ) -> None:
        outputs, module = {"loss": loss}, member.module
        module.learning_curves.on_train_batch_end(self.trainer, module, outputs, batch, batch_idx)
        member.call("on_train_batch_end", outputs, batch, batch_idx)

    def _step_all(self) -> None:
        """Do what lies between the backward pass and the end of a step; a graph does all of it."""
        if self._graphed is not None:
            self._losses = self._graphed(self._batch)
            return
        for member in self.training_members:
            if member.has_optimizer:
                member.run(member.module.on_dense_gradients)
        self._joint.mask_gradients()
        for member in self.training_members:
            member.call("on_before_optimizer_step", member.optimizer)
            member.clip_gradients()
        for member in self.members:
            if not member.is_training:
                member.module.network.zero_grad()  # optimizers pass over what has no gradient
        if self._optimizers.shared is not None:
            self._optimizers.shared.step()
        for member in self.training_members:
            if member.has_optimizer:
                member.run(member.module.optimizer_step, self.current_epoch, 0, member.optimizer)

    def on_train_epoch_end(self) -> None:
        """Step schedules that count in epochs, and call the methods' hooks."""
        self._optimizers.step_schedules("epoch")
        self._call("on_train_epoch_end")
        self._joint.check()
        self._check_members()

    def on_train_end(self) -> None:
        """Call the methods' hooks."""
        self._call("on_train_end")

    def on_fit_end(self) -> None:
        """Call the methods' hooks."""
        self._call("on_fit_end")

    # Evaluation ----------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        """Call the methods' hooks."""
        self._call("on_validation_start")

    def on_validation_end(self) -> None:
        """Call the methods' hooks."""
        self._call("on_validation_end")

    def on_validation_epoch_start(self) -> None:
        """Record the mean training losses."""
        self._record("on_validation_epoch_start")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Evaluate each network by itself: large batches gain nothing from being stacked."""
        for member in self.training_members:
            member.run(self._validate, member, batch, batch_idx)

    def _validate(self, member: Member, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        module = member.module
        outputs = module.validation_step(batch, batch_idx)
        module.learning_curves.on_validation_batch_end(
            self.trainer, module, outputs, batch, batch_idx
        )

    def on_validation_epoch_end(self) -> None:
        """Record the accuracy and loss of each network."""
        self._record("on_validation_epoch_end")

    def _record(self, hook: str) -> None:
        for member in self.training_members:
            curves = member.module.learning_curves
            member.run(getattr(curves, hook), self.trainer, member.module)
        self._call(hook)

    # Checkpoints ---------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what each method saves, its curves and where its random numbers are."""
        checkpoint["members"] = [_saved(member) for member in self.members]
        checkpoint["schedules"] = self._optimizers.saved_schedules()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what was saved."""
        self._saved_schedules = checkpoint["schedules"]
        for member, saved in zip(self.members, checkpoint["members"], strict=True):
            member.module.on_load_checkpoint(saved["method"])
            member.module.learning_curves.load_state_dict(saved["curves"])
            member.module.phase_timer.load_state_dict(saved["timer"])
            member.random.set_state(saved["random"])
            member.skipped = saved["skipped"]
            member.failure = Failure(*saved["failure"]) if saved["failure"] else None

    # Members -------------------------------------------------------------------------------------

    def _call(self, hook: str) -> None:
        for member in self.members:
            member.call(hook, *([member.optimizer] if hook == "on_before_zero_grad" else []))

    def _check_members(self) -> None:
        if not self.training_members:
            raise NothingLeft


def _saved(member: Member) -> dict[str, Any]:
    of_method: dict[str, Any] = {}
    member.module.on_save_checkpoint(of_method)
    return {
        "method": of_method,
        "curves": member.module.learning_curves.state_dict(),
        "timer": member.module.phase_timer.state_dict(),
        "random": member.random.get_state(),
        "skipped": member.skipped,
        "failure": list(member.failure) if member.failure else None,
    }
