"""The contract of a method: a LightningModule that overrides as little as possible."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.training_cost import TrainingCost
from pai_bench.store.search_cache import Search
from pai_bench.training import optimizer
from pai_bench.training.callbacks.learning_curves import LearningCurves
from pai_bench.training.callbacks.mask_enforcement import MaskEnforcement
from pai_bench.training.callbacks.mask_selection import MaskSelection
from pai_bench.training.callbacks.phase_timer import PhaseTimer
from pai_bench.training.context import MethodContext
from pai_bench.training.restricted_batches import Batches, RestrictedBatches
from pai_bench.training.sanity_checks import inverted

_SPENT = ("scoring_flops", "reused_seconds", "search_ids")
"""What choosing masks has cost so far, and which stored searches were used."""


def _ignore(_message: str) -> None:
    """Where nobody asks how far a method is."""


class SparseClassifier(pl.LightningModule):
    """A network, its masks, and the recipe that trains it.

    The harness reads the facts below from a method and holds it to them. What happens around a
    method while the Trainer runs is done by callbacks that come with it (`configure_callbacks`):
    masks are chosen before the first step and enforced in each, phases are timed, curves noted.
    Weights at masked positions are exactly 0 in the parameters, so the state_dict is that of the
    plain network, under `network.`; checkpoints hold the masks beside it.

    The class is longer than others because it is the whole contract in one place: facts, the few
    methods that a method may override, and what it may call.

    Args:
        network: The network to train, with its initial weights.
        context: Density, recipe and random streams of the cell.
        **hyper: Hyper-parameters, fields of `Hyper`.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised on any change of behaviour; results of two versions are never ranked together."""
    paper: ClassVar[str | None] = None
    when: ClassVar[Literal["init", "during", "path"]] = "init"
    """When weights are chosen: before, during, or along the path of training."""
    prunes: ClassVar[bool] = True
    """False for the dense reference, which runs at density 1 only."""
    needs_data: ClassVar[bool] = True
    """False: scoring batches arrive as zeros of their shape."""
    needs_labels: ClassVar[bool] = True
    """False: scoring batches arrive with None for labels."""
    trains_to_score: ClassVar[bool] = False
    """True: masks are chosen by training, on all training batches instead of a few."""
    changes_weights: ClassVar[bool] = False
    """True: training may start from other weights than the initial ones."""
    progress_interval: ClassVar[float] = 1.0
    """Seconds between two messages on how far the choice of masks is."""
    exact_density: ClassVar[bool] = True
    """False: masks come in steps, and the density that is asked for is their upper bound."""

    @dataclass(frozen=True)
    class Hyper:
        """Hyper-parameters: frozen, with literal defaults; part of the identity of a cell."""

    def __init__(self, network: nn.Module, context: MethodContext, **hyper: Any) -> None:
        super().__init__()
        self.network, self.context = network, context
        self.hyper: Any = self.Hyper(**hyper)
        self.mask_enforcement = MaskEnforcement()
        self.learning_curves = LearningCurves()
        self.phase_timer = PhaseTimer()
        self.training_cost = TrainingCost()
        self.masks = Masks.ones(network)
        self.initial_nonzero = self.masks.kept_by_layer()
        """Kept weights by layer when training began."""
        self.training_cost.use(self.initial_nonzero)
        self.scoring_flops = 0.0
        self.reused_seconds = 0.0
        """Of searches that another cell ran: charged here, though not spent here."""
        self.search_ids: list[str] = []
        """Ids of the stored searches that were used."""
        self.resumed = False
        """True: a checkpoint brought the masks."""
        self.progress_callback: Callable[[str], None] = _ignore
        """Is called with how far the choice of masks is."""
        self._passes, self._last_report = 0, 0.0

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; the Trainer notes the current hook here some 40 times a step.

        torch's own way for modules is slow enough to make that a tenth of a small network's step.
        """
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def configure_callbacks(self) -> list[pl.Callback]:
        """What the Trainer runs beside the method, in this order."""
        return [MaskSelection(), self.mask_enforcement, self.learning_curves, self.phase_timer]

    # What a method may override ------------------------------------------------------------------

    def sparsify(self, batches: Batches) -> Masks:
        """Choose the masks to start training with.

        Args:
            batches: Images (N, C, H, W) and labels (N,), without what the method does not need.

        Returns:
            One bool tensor per prunable weight, True where the weight is kept.
        """
        return Masks.ones(self.network)

    def on_dense_gradients(self) -> None:
        """Look at the gradients of all weights, before they are masked for the optimizer's step.

        They are those of the batch, averaged over ranks. Count with `count_dense_gradient` what a
        real sparse training would have had to compute.
        """

    def batch_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean cross-entropy of one batch, its labels smoothed as the recipe says."""
        images, labels = batch
        smoothing = self.context.recipe.label_smoothing
        return cross_entropy(self.network(images), labels, label_smoothing=smoothing)

    def progress_message(self) -> str:
        """Say how far the choice of masks is, beside passes over batches; "" for nothing."""
        return ""

    # What a method may call ----------------------------------------------------------------------

    def set_masks(self, masks: Masks) -> None:
        """Take `masks` as the masks of the network from now on.

        Raises:
            BenchError: A layer's mask is missing, unknown, or of another shape than its weight.
        """
        check_layers(masks, dict(prunable(self.network)), f"{type(self).__name__}: masks")
        self.masks = Masks({name: mask.to(self.device) for name, mask in masks.items()})
        self.mask_enforcement.use(self.masks, self.network)
        self.training_cost.use(self.masks.kept_by_layer())

    def get_or_compute(
        self, settings: Mapping[str, Any], compute: Callable[[], Search]
    ) -> Mapping[str, Any]:
        """Return what a search found: from the cache that cells share, or by running it.

        What the search took is charged to this cell, whoever ran it.

        Args:
            settings: All that the search depends on beside method, network, data, recipe and seed,
                as plain JSON data; the density only if it is in there.
            compute: Runs the search.

        Returns:
            The state of the search: tensors and plain data.
        """
        started = time.perf_counter()
        if self.context.search_cache is None:
            search = compute()
        else:
            search_id, search = self.context.search_cache.get_or_compute(settings, compute)
            self.search_ids.append(search_id)
            self.reused_seconds += max(0.0, search.seconds - (time.perf_counter() - started))
        self.scoring_flops += search.flops
        return search.state

    def ranked(
        self, scores: Mapping[str, Tensor], alive: Masks | None = None
    ) -> Mapping[str, Tensor]:
        """Scores as they are to be ranked: the lowest first under the sanity check `invert`.

        Args:
            scores: By weight name; high scores are kept.
            alive: Weights that may be kept; the others stay last. All of them unless given.
        """
        return inverted(scores, alive) if self.context.sanity_check == "invert" else scores

    def count_dense_gradient(self, images: int) -> None:
        """Count that the last gradient, of a batch of `images`, was that of all weights.

        Called before the masks change. The batch itself is counted by `training_step`; one that
        a method runs by itself is counted with `self.training_cost.count(images)`.
        """
        self.training_cost.count(0, dense=images)

    def restrict_inputs(self, batches: Batches) -> Batches:
        """Hide from the method what it declares not to need; give images the weights' type."""
        dtype = next(self.network.parameters()).dtype
        return RestrictedBatches(
            batches, dtype, self.needs_data, self.needs_labels, self._report_batch
        )

    def report_progress(self, *more: str) -> None:
        """Say how far the choice of masks is, not more often than a person reads."""
        now, parts = time.monotonic(), [part for part in (self.progress_message(), *more) if part]
        if parts and now - self._last_report >= self.progress_interval:
            self._last_report = now
            self.progress_callback(", ".join(parts))

    def _report_batch(self, number: int, of: int) -> None:
        self._passes += number == 0
        self.report_progress(f"pass {self._passes}, batch {number + 1} of {of}")

    # What the Trainer calls ----------------------------------------------------------------------

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes); sequences to (N, classes, L)."""
        logits: Tensor = self.network(images)
        return logits

    def configure_optimizers(self) -> Any:
        """Build the optimizer and the schedule of the recipe."""
        recipe, data = self.context.recipe, self.trainer.datamodule  # type: ignore[attr-defined]
        chosen = optimizer.optimizer(self.network, recipe)
        steps = math.ceil(data.train_size / recipe.batch_size)
        schedule = optimizer.schedule(chosen, recipe, steps)
        return {"optimizer": chosen, "lr_scheduler": schedule}

    def configure_gradient_clipping(self, *_args: Any, **_kwargs: Any) -> None:
        """Clip gradients, as the recipe says; the Trainer asks for it after they were masked."""
        optimizer.clip(self.network, self.context.recipe)

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Loss of one batch."""
        loss = self.batch_loss(batch)
        self.training_cost.count(len(batch[1]))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> dict[str, Tensor]:
        """Which test images of a batch are classified correctly, and their mean loss."""
        images, labels = batch
        logits = self.network(images)
        # A network may have more outputs than the data has classes (NTK-SAP on Tiny-ImageNet).
        correct = (logits.argmax(1) == labels).float()
        return {"correct": correct, "loss": cross_entropy(logits.float(), labels)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put masks and what they cost into a checkpoint; curves and seconds are the callbacks'.

        A method that remembers more while it trains adds it, and takes it back on loading: an
        interrupted training resumes from here.
        """
        checkpoint["masks"] = dict(self.masks)
        checkpoint["initial_nonzero"] = dict(self.initial_nonzero)
        checkpoint["training_cost"] = dict(self.training_cost.segments)
        checkpoint["spent"] = {name: copy.copy(getattr(self, name)) for name in _SPENT}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them out of a checkpoint: a training that is resumed keeps its masks."""
        self.set_masks(Masks(checkpoint["masks"]))
        self.initial_nonzero = checkpoint["initial_nonzero"]
        self.training_cost.segments = dict(checkpoint["training_cost"])
        self.resumed = True
        for name, spent in checkpoint["spent"].items():
            setattr(self, name, spent)


def check_layers(tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor], what: str) -> None:
    """Raise BenchError unless there is one tensor of the right shape for each of `weights`."""
    for name in weights.keys() ^ tensors.keys():
        missing = "are missing for" if name in weights else "were given for the unknown weight"
        raise BenchError(f"{what} {missing} {name}")
    for name, weight in weights.items():
        if tensors[name].shape != weight.shape:
            shapes = f"{tuple(tensors[name].shape)}, the weight has {tuple(weight.shape)}"
            raise BenchError(f"{what} of {name} have shape {shapes}")
