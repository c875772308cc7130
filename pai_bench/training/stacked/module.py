"""K methods as one LightningModule: one forward and backward pass, K optimizer steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pai_bench.core.errors import BenchError
from pai_bench.training.callbacks.mask_selection import MaskSelection
from pai_bench.training.callbacks.phase_timer import PhaseTimer
from pai_bench.training.failure import Failure
from pai_bench.training.stacked.data import StackedBatch
from pai_bench.training.stacked.masks import StackedMasks
from pai_bench.training.stacked.member import Member
from pai_bench.training.stacked.network import StackedNetwork
from pai_bench.training.stacked.optimizer import StackedOptimizer


class NothingLeft(Exception):
    """No network of a stack is left to train."""


class StackedClassifier(pl.LightningModule):
    """Trains the networks of K methods as one; each method sees its own network, alone.

    Masks are chosen one method after another, before the first step. Then the networks become
    slices of a `StackedNetwork`. In each step the methods' hooks are called as Lightning calls them
    for a network that is trained alone. A method that raises, or whose loss is not finite, is taken
    out; the others go on.

    Args:
        members: Methods that a stack can train (see `TAKEN_OVER`), on networks that were built
            alike.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.members = members
        self.modules_of_members = torch.nn.ModuleList(member.module for member in members)
        self.phase_timer = PhaseTimer()
        self.progress_callback: Callable[[str], None] = lambda _message: None
        self._optimizers: list[torch.optim.Optimizer] = []
        self._schedules: list[Any] = []
        self._saved_schedules: list[Any] = []
        self._losses: Tensor | None = None
        self._images = 0

    @property
    def training_members(self) -> list[Member]:
        """Those that still take part."""
        return [member for member in self.members if member.is_training]

    def configure_callbacks(self) -> list[pl.Callback]:
        """Time the phases of all together."""
        return [self.phase_timer]

    # Before the first step -----------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Show each method its Trainer."""
        for member in self.members:
            member.attach(self.trainer)
            member.module.progress_callback = self._progress_of(member)

    def _progress_of(self, member: Member) -> Callable[[str], None]:
        def report(message: str) -> None:
            self.progress_callback(f"{member.cell}: {message}")

        return report

    def configure_optimizers(self) -> StackedOptimizer:
        """Build each method's own optimizer and schedule."""
        configured = [member.module.configure_optimizers() for member in self.members]
        self._optimizers = [of_member["optimizer"] for of_member in configured]
        self._schedules = [of_member["lr_scheduler"] for of_member in configured]
        for schedule, state in zip(self._schedules, self._saved_schedules, strict=False):
            schedule["scheduler"].load_state_dict(state)
        for member, optimizer in zip(self.members, self._optimizers, strict=True):
            member.use(optimizer)
        return StackedOptimizer(self._optimizers, self._step_all)

    def on_fit_start(self) -> None:
        """Let each method choose its masks, then stack their networks.

        Raises:
            NothingLeft: No method got that far.
        """
        selection = MaskSelection()
        for member in self.training_members:
            member.run(selection.on_fit_start, member.module.trainer, member.module)
            member.call("on_fit_start")
        self._check_members()
        self.stacked = StackedNetwork([member.module.network for member in self.members])
        self.stacked.use([member.random for member in self.members])
        self.masks = StackedMasks([member.module for member in self.members], self.stacked)
        self.phase_timer.restart(self)

    def on_train_start(self) -> None:
        """Call the methods' hooks."""
        self._call("on_train_start")

    # A step --------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Start the epoch's mean losses."""
        for member in self.members:
            member.module.learning_curves.on_train_epoch_start(self.trainer, member.module)
        self._call("on_train_epoch_start")

    def on_train_batch_start(self, batch: StackedBatch, batch_idx: int) -> None:
        """Call the methods' hooks, each with its own batch."""
        for index, member in enumerate(self.members):
            member.call("on_train_batch_start", batch.of(index), batch_idx)

    def training_step(self, batch: StackedBatch, batch_idx: int) -> None:
        """Train all networks on a batch of each."""
        optimizer: Any = self.optimizers()
        self._call("on_before_zero_grad", self._optimizers)
        self.stacked.zero_grad()
        losses = self._losses_of(batch)
        self._call("on_before_backward", losses)
        self.manual_backward(losses.sum())
        self.stacked.share_gradients()
        self._call("on_after_backward")
        self._count(losses.detach(), batch.size)
        optimizer.step()
        self._step_schedules("step")

    def _losses_of(self, batch: StackedBatch) -> Tensor:
        """Mean cross-entropy of each network, as `SparseClassifier.batch_loss`: (K,)."""
        logits, labels = self.stacked.logits(batch.images()), batch.labels()
        smoothing = self.members[0].module.context.recipe.label_smoothing
        of_images = cross_entropy(
            logits.flatten(0, 1), labels.flatten(), label_smoothing=smoothing, reduction="none"
        )
        return of_images.view_as(labels).mean(0)

    def _count(self, losses: Tensor, images: int) -> None:
        of_batch = losses * images
        self._losses = of_batch if self._losses is None else self._losses + of_batch
        self._images += images
        for member in self.training_members:
            member.module.training_cost.count(images)

    def _step_all(self) -> None:
        """Between the backward pass and the end of a step; called by the optimizer of the stack."""
        for member in self.training_members:
            if member.looks_at_gradients:
                member.run(member.module.on_dense_gradients)
        self.masks.mask_gradients()
        self._call("on_before_optimizer_step", self._optimizers)
        for member, optimizer in zip(self.members, self._optimizers, strict=True):
            if member.is_training:
                self._step(member, optimizer)

    def _step(self, member: Member, optimizer: torch.optim.Optimizer) -> None:
        module = member.module
        if module.context.recipe.clip_at is not None:
            module.configure_gradient_clipping(optimizer)
        if member.steps_itself:
            member.run(module.optimizer_step, self.current_epoch, 0, optimizer)
        else:
            optimizer.step()

    def _step_schedules(self, interval: str) -> None:
        for schedule in self._schedules:
            if schedule["interval"] == interval:
                schedule["scheduler"].step()

    def on_train_batch_end(self, outputs: Any, batch: StackedBatch, batch_idx: int) -> None:
        """Call the methods' hooks, each with its own batch."""
        for index, member in enumerate(self.members):
            member.call("on_train_batch_end", outputs, batch.of(index), batch_idx)

    def on_train_epoch_end(self) -> None:
        """Step schedules that count in epochs; check that the stack still is what is trained."""
        self._step_schedules("epoch")
        self._call("on_train_epoch_end")
        if not self.stacked.is_aliased():
            raise BenchError(
                "a method has replaced tensors of its network instead of changing them in place; "
                "train these cells with --stack off"
            )
        self._check_members()

    # Evaluation ----------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Give each method's learning curves its mean training loss."""
        losses = [] if self._losses is None else self._losses.tolist()
        for member, loss in zip(self.members, losses, strict=False):
            member.module.learning_curves.add_sum(loss, self._images)
        self._losses, self._images = None, 0
        for member in self._evaluated():
            curves = member.module.learning_curves
            member.run(curves.on_validation_epoch_start, self.trainer, member.module)
        self._call("on_validation_epoch_start")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Evaluate each network as if it were alone: with the same images, nothing is gained."""
        for member in self._evaluated():
            member.run(self._validate, member, batch, batch_idx)

    def _validate(self, member: Member, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        module = member.module
        outputs = module.validation_step(batch, batch_idx)
        module.learning_curves.on_validation_batch_end(
            self.trainer, module, outputs, batch, batch_idx
        )

    def on_validation_epoch_end(self) -> None:
        """Record the accuracy and loss of each network."""
        for member in self._evaluated():
            curves = member.module.learning_curves
            member.run(curves.on_validation_epoch_end, self.trainer, member.module)
        self._call("on_validation_epoch_end")

    def _evaluated(self) -> list[Member]:
        return self.training_members

    # Checkpoints ---------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what each method saves, its curves and where its random numbers are."""
        checkpoint["members"] = [_saved(member) for member in self.members]
        checkpoint["schedules"] = [s["scheduler"].state_dict() for s in self._schedules]
        checkpoint["losses"] = {"sum": self._losses, "images": self._images}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what was saved."""
        for member, saved in zip(self.members, checkpoint["members"], strict=True):
            member.module.on_load_checkpoint(saved["method"])
            member.module.learning_curves.load_state_dict(saved["curves"])
            member.module.phase_timer.load_state_dict(saved["timer"])
            member.random.set_state(saved["random"])
            member.skipped = saved["skipped"]
            member.failure = Failure(*saved["failure"]) if saved["failure"] else None
        self._saved_schedules = checkpoint["schedules"]
        self._losses = checkpoint["losses"]["sum"]  # the next step's move it to the device
        self._images = checkpoint["losses"]["images"]

    # Members -------------------------------------------------------------------------------------

    def _call(self, hook: str, arguments: Sequence[Any] | Tensor | None = None) -> None:
        """Call a hook on the methods that override it, with an argument of its own if it has one."""
        for index, member in enumerate(self.members):
            member.call(hook, *([] if arguments is None else [arguments[index]]))

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
