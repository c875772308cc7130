"""One network of a bundle: its method, data and random numbers, and the Trainer as it sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch

from pai_bench.core.errors import first_line
from pai_bench.data.module import InMemoryData
from pai_bench.experiment.cell import Cell
from pai_bench.training.callbacks.mask_selection import Collapsed
from pai_bench.training.failure import Failure, failure_of
from pai_bench.training.module import SparseClassifier

HOOKS = (
    "on_fit_start", "on_fit_end", "on_train_start", "on_train_end", "on_train_epoch_start",
    "on_train_epoch_end", "on_train_batch_start", "on_train_batch_end", "on_before_zero_grad",
    "on_after_backward", "on_before_optimizer_step",
    "on_validation_start", "on_validation_end", "on_validation_epoch_start",
    "on_validation_epoch_end",
)  # fmt: skip
"""Hooks of Lightning that are called on each method that overrides them."""
REPLACED = (
    "configure_optimizers", "configure_callbacks", "backward", "on_before_backward",
    "optimizer_zero_grad", "lr_scheduler_step", "transfer_batch_to_device",
    "on_before_batch_transfer", "on_after_batch_transfer", "setup", "teardown", "configure_model",
    "prepare_data", "on_validation_batch_start", "on_validation_batch_end",
    "on_validation_model_eval", "on_validation_model_train", "on_validation_model_zero_grad",
)  # fmt: skip
"""What is done for all networks at once: a method that overrides one of these is trained alone."""
REPLACED_IN_STACKS = ("training_step", "batch_loss", "forward")
"""The same, where the networks are one stack."""
STEP = ("optimizer_step", "on_dense_gradients", "on_before_optimizer_step")
"""A method that overrides one of these has an optimizer by itself; others share one."""


def overridden(method: type[SparseClassifier], name: str, base: type = SparseClassifier) -> bool:
    """Tell whether a method has its own version of what `base` has."""
    return getattr(method, name) is not getattr(base, name)


class Member:
    """One network of a bundle.

    Its method sees a Trainer with its own data and optimizer, and draws from its own random
    stream, as if it were alone.

    Args:
        cell: What it is.
        module: The method around its network.
        data: Its batches.
    """

    def __init__(self, cell: Cell, module: SparseClassifier, data: InMemoryData) -> None:
        self.cell, self.module, self.data = cell, module, data
        self.random = module.context.rng.generator("training")
        """State of torch's global generator of the CPU, as it would be if it were alone."""
        self.skipped = ""
        """Why it is evaluated without training; empty for any other."""
        self.failure: Failure | None = None
        """What ended its training."""
        self._hooks = {name for name in HOOKS if overridden(type(module), name)}
        self.has_optimizer = any(overridden(type(module), name) for name in STEP)
        """Whether it has an optimizer by itself."""
        self.optimizer: torch.optim.Optimizer
        self._clips = module.context.recipe.clip_at is not None or overridden(
            type(module), "configure_gradient_clipping"
        )

    @property
    def is_training(self) -> bool:
        """Whether it still takes part."""
        return self.failure is None and not self.skipped

    @property
    def leaves_steps_alone(self) -> bool:
        """Whether it trains, and nothing of its own looks at gradients or at its optimizer."""
        own = self._hooks or self.has_optimizer or self._clips
        return not own and not self.skipped

    def attach(self, trainer: pl.Trainer) -> None:
        """Show the method this Trainer, with its own data and optimizer."""
        self.module.trainer = MemberTrainer(trainer, self.data)  # type: ignore[assignment]

    def use(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the optimizer that the method sees as its Trainer's."""
        self.optimizer = optimizer
        trainer: Any = self.module.trainer
        trainer.optimizers = [optimizer]
        trainer.strategy = _View(trainer.strategy, optimizers=[optimizer],
                                 _lightning_optimizers=[optimizer])  # fmt: skip

    def clip_gradients(self) -> None:
        """Clip the gradients of the network as its method or the recipe says."""
        if self._clips:
            self.run(self.module.configure_gradient_clipping, self.optimizer)

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a hook of Lightning if the method overrides it."""
        if hook in self._hooks and self.is_training:
            self.run(getattr(self.module, hook), *arguments)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a part of the training with the member's random numbers.

        Returns:
            What `function` returns; None if it raised, which ends the member's training.
        """
        try:
            with self._as_global():
                return function(*arguments)
        except Collapsed as reason:
            self.skipped = first_line(reason)
        except Exception as error:
            self.failure = failure_of(error)
        return None

    @contextmanager
    def _as_global(self) -> Iterator[None]:
        before = torch.get_rng_state()
        torch.set_rng_state(self.random.get_state())
        try:
            yield
        finally:
            self.random.set_state(torch.get_rng_state())
            torch.set_rng_state(before)


class _View:
    """An object with some attributes replaced."""

    def __init__(self, of: Any, **replaced: Any) -> None:
        self._of = of
        vars(self).update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


class MemberTrainer(_View):
    """The Trainer of a bundle as one member sees it: with the data of that member."""

    def __init__(self, trainer: pl.Trainer, data: InMemoryData) -> None:
        super().__init__(trainer, datamodule=data, strategy=trainer.strategy)
