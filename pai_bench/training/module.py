"""The contract of a method: a LightningModule that overrides as little as possible."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric

from pai_bench.config.schema import CORRUPTING, Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.training_cost import TrainingCost
from pai_bench.store.search_cache import Search, SearchCache
from pai_bench.training import optimizer
from pai_bench.training.sanity_checks import Corrupted, shuffled

_SPENT = ("seconds", "scoring_flops", "reused_seconds", "searches")
"""Of a method: what it has cost so far, and which stored searches it used."""
Batches = Sequence[tuple[Tensor, Any]]
"""Images (N, C, H, W) and labels (N,), or None for labels that a method does without.

Of text, sequences of symbols (N, 1, 1, L) and the symbols that follow (N, L).
"""


class Diverged(RuntimeError):
    """A loss is no longer a number."""


class Collapsed(RuntimeError):
    """A mask leaves a layer empty, and the recipe skips such networks."""


class MeanLoss:
    """Mean loss per image, summed where the losses are: no synchronisation until it is read."""

    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self.images = 0

    def add(self, loss: Tensor, images: int) -> None:
        """Count the mean `loss` of a batch of `images`."""
        self._sum = self._sum + loss * images
        self.images += images

    def state_dict(self) -> dict[str, Any]:
        """The sum so far, for a checkpoint in the midst of an epoch."""
        return {"sum": self._sum, "images": self.images}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a sum."""
        self._sum, self.images = state["sum"], state["images"]

    def mean(self) -> float:
        """Loss per image so far."""
        return float(self._sum) / max(1, self.images)


@dataclass(frozen=True)
class RestrictedBatches(Sequence[tuple[Tensor, Any]]):
    """Batches as a method may see them, made when asked for: they may not all fit in memory."""

    batches: Batches
    dtype: torch.dtype
    data: bool
    labels: bool
    look: Callable[[int, int], None]
    """Told the number of each batch of a pass, from 0, and how many there are."""

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        return self._seen(*self.batches[number])

    def __iter__(self) -> Iterator[tuple[Tensor, Any]]:
        for number, (images, labels) in enumerate(self.batches):
            self.look(number, len(self.batches))
            yield self._seen(images, labels)

    def _seen(self, images: Tensor, labels: Any) -> tuple[Tensor, Any]:
        seen = images.to(self.dtype) if self.data else torch.zeros_like(images, dtype=self.dtype)
        return seen, labels if self.labels else None


@dataclass(frozen=True)
class MethodContext:
    """What a method is given beside the network: how sparse, how to train, where chance is from."""

    density: float
    recipe: Recipe
    classes: int
    rng: RandomStreams
    sanity_check: str = ""
    """The sanity check to make of the method (training/sanity_checks.py)."""
    other_start: Callable[[], nn.Module] | None = None
    """Builds the network with other initial weights, for the check `reinitialise`."""
    searches: SearchCache | None = None
    """Where searches are stored that cells share; without it each method runs its own."""
    initialise: Callable[[nn.Module], None] | None = None
    """Draws the initial weights of a network as PyTorch made it; without it they stay as made."""


def _to_nobody(_reached: str) -> None:
    """Where nobody listens to a method."""


class SparseClassifier(pl.LightningModule):
    """A network, its masks, and the recipe that trains it.

    The harness reads the facts below from a method and holds it to them. Weights at masked
    positions are exactly 0 in the parameters: the masks are applied once, then multiplied into the
    gradients before each optimizer step, so that momentum and weight decay keep them 0. The
    state_dict is that of the plain network, under `network.`; checkpoints hold the masks beside it.
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
    """Seconds between two words on how far the choice of masks is."""
    exact_density: ClassVar[bool] = True
    """False: masks come in steps, and the density that is asked for is their upper bound."""

    @dataclass(frozen=True)
    class Hyper:
        """Hyper-parameters: frozen, with literal defaults; part of the identity of a cell."""

    def __init__(self, network: nn.Module, context: MethodContext, **hyper: Any) -> None:
        super().__init__()
        self.network, self.context = network, context
        self.hyper: Any = self.Hyper(**hyper)
        self.masks = Masks.ones(network)
        self.initial_nonzero = self.masks.kept_by_layer()
        self.curves: dict[str, list[float]] = {}
        self.seconds = {"score": 0.0, "train": 0.0, "eval": 0.0}
        self.scoring_flops = 0.0
        self.reused_seconds = 0.0
        """Of searches that another cell ran: charged here, though not spent here."""
        self.searches: list[str] = []
        """Ids of the stored searches that were used."""
        self.training_cost = TrainingCost()
        self.training_cost.use(self.initial_nonzero)
        self._started, self._restored = 0.0, False
        self.on_scoring: Callable[[str], None] = _to_nobody
        """Is told how far the choice of masks is."""
        self._passes, self._told = 0, 0.0
        self._accuracy, self._test_loss = MeanMetric(), MeanMetric()
        self._train_loss = MeanLoss()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; the Trainer notes the current hook here some 40 times a step.

        torch's own way for modules is slow enough to make that a tenth of a small network's step.
        """
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def sparsify(self, batches: Batches) -> Masks:
        """Choose the masks to start training with; `batches` are (images, labels)."""
        return Masks.ones(self.network)

    def get_or_compute(
        self, settings: Mapping[str, Any], make: Callable[[], Search]
    ) -> Mapping[str, Any]:
        """Return the state that a search has found, run by `make` or shared with other cells.

        `settings` are all that the search depends on beside method, network, data, recipe and seed:
        the density only if it is in there. What the search took is charged to this cell, whoever
        ran it.
        """
        started = time.perf_counter()
        if self.context.searches is None:
            found = make()
        else:
            name, found = self.context.searches.get(settings, make)
            self.searches.append(name)
            self.reused_seconds += max(0.0, found.seconds - (time.perf_counter() - started))
        self.scoring_flops += found.flops
        return found.state

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

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Loss of one batch; its sum stays on the device until the epoch ends."""
        loss = self.batch_loss(batch)
        self._train_loss.add(loss.detach(), len(batch[1]))
        self.training_cost.count(len(batch[1]))
        return loss

    def batch_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean cross-entropy of one batch, its labels smoothed as the recipe says."""
        images, labels = batch
        smoothing = self.context.recipe.label_smoothing
        return cross_entropy(self.network(images), labels, label_smoothing=smoothing)

    def count_dense_gradient(self, images: int) -> None:
        """Count that the last gradient, of a batch of `images`, was that of all weights.

        Called before the masks change. The batch itself is counted by `training_step`; one that
        a method runs by itself is counted with `self.training_cost.count(images)`.
        """
        self.training_cost.count(0, dense=images)

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Accuracy and loss on a batch of test images."""
        images, labels = batch
        logits = self.network(images)
        # A network may have more outputs than the data has classes (NTK-SAP on Tiny-ImageNet).
        self._accuracy.update((logits.argmax(1) == labels).float())
        self._test_loss.update(cross_entropy(logits.float(), labels), len(labels))

    def on_fit_start(self) -> None:
        """Choose the masks, on the Trainer's device and before the first step."""
        if self._restored:
            self.set_masks(self.masks)  # A checkpoint brought them; what they act on has moved.
            self._started = self._now()
            return
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        with self._clock("score"):
            masks = self.sparsify(self._batches_to_score(data))
        data.seconds = 0.0  # Batches of a search are part of its own time.
        self._started = self._now()
        self.set_masks(self._ablated(masks))
        self.initial_nonzero = self.masks.kept_by_layer()
        if self.masks.collapsed() and self.context.recipe.collapsed == "skip":
            raise Collapsed(f"nothing is kept of {', '.join(self.masks.collapsed())}")

    def _batches_to_score(self, data: Any) -> Any:
        """What the method may look at while it chooses the masks."""
        context = self.context
        blank = not (self.needs_data or self.needs_labels)
        batches = data.train_dataloader() if self.trains_to_score else data.score_batches(blank)
        if context.sanity_check in CORRUPTING:
            batches = Corrupted(batches, context.sanity_check, context.classes, context.rng)
        return self.restrict_inputs(batches)

    def _ablated(self, masks: Masks) -> Masks:
        """Do the part of a sanity check that comes after the masks were chosen."""
        if self.context.sanity_check == "layerwise-shuffle":
            return shuffled(masks, self.context.rng)
        if self.context.sanity_check == "reinitialise" and self.context.other_start is not None:
            self.network.load_state_dict(self.context.other_start().state_dict())
        return masks

    def set_masks(self, masks: Masks) -> None:
        """Take `masks` as the masks of the network from now on."""
        weights = dict(prunable(self.network))
        _check_layers(masks, weights, f"{type(self).__name__}: masks")
        self.masks = Masks({name: mask.to(self.device) for name, mask in masks.items()})
        self.masks.apply(self.network)
        self.training_cost.use(self.masks.kept_by_layer())
        self._masked = list(weights.values())
        self._factors = [self.masks[name].to(weight.dtype) for name, weight in weights.items()]

    def restrict_inputs(self, batches: Batches) -> Batches:
        """Hide from the method what it declares not to need; give images the weights' type."""
        dtype = next(self.network.parameters()).dtype
        return RestrictedBatches(batches, dtype, self.needs_data, self.needs_labels, self._look)

    def progress_message(self) -> str:
        """Say how far the choice of masks is, beside passes over batches; "" for nothing."""
        return ""

    def _look(self, number: int, of: int) -> None:
        """A method that chooses masks looks at a batch."""
        self._passes += number == 0
        self.report_progress(f"pass {self._passes}, batch {number + 1} of {of}")

    def report_progress(self, *more: str) -> None:
        """Say how far the choice of masks is, not more often than a person reads."""
        now, said = time.monotonic(), [part for part in (self.progress_message(), *more) if part]
        if said and now - self._told >= self.progress_interval:
            self._told = now
            self.on_scoring(", ".join(said))

    def on_before_optimizer_step(self, _optimizer: Any) -> None:
        """Take masked weights out of the gradient."""
        if self.prunes:
            pairs = zip(self._masked, self._factors, strict=True)
            live = [(w.grad, factor) for w, factor in pairs if w.grad is not None]
            torch._foreach_mul_([g for g, _ in live], [factor for _, factor in live])

    def configure_gradient_clipping(self, *_args: Any, **_kwargs: Any) -> None:
        """Clip gradients, as the recipe says; the Trainer asks for it after they were masked."""
        optimizer.clip(self.network, self.context.recipe)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's clock and sums."""
        self._started = self._now()
        self._train_loss = MeanLoss()

    def on_validation_epoch_start(self) -> None:
        """Close the training part of the epoch: the Trainer evaluates inside it."""
        self.lap("train")
        if self._train_loss.images:
            self._note("train_loss", self._train_loss.mean())

    def on_validation_epoch_end(self) -> None:
        """Note the epoch's test accuracy and loss."""
        self._note("test_accuracy", float(self._accuracy.compute()))
        self._note("test_loss", float(self._test_loss.compute()))
        self._accuracy.reset()
        self._test_loss.reset()
        self.lap("eval")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what a result is made of into a checkpoint: masks, curves and cost so far.

        A method that remembers more while it trains adds it, and takes it back on loading: an
        interrupted training goes on from here (halfway.py).
        """
        checkpoint["masks"] = dict(self.masks)
        checkpoint["kept_at_start"] = dict(self.initial_nonzero)
        checkpoint["training_cost"] = dict(self.training_cost.segments)
        checkpoint["curves"] = {name: list(curve) for name, curve in self.curves.items()}
        checkpoint["train_loss"] = self._train_loss.state_dict()
        checkpoint["spent"] = {name: copy.copy(getattr(self, name)) for name in _SPENT}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them out of a checkpoint: a training that is resumed keeps its masks."""
        self.set_masks(Masks(checkpoint["masks"]))
        self.initial_nonzero = checkpoint["kept_at_start"]
        self.training_cost.segments = dict(checkpoint["training_cost"])
        self.curves, self._restored = checkpoint["curves"], True
        self._train_loss.load_state_dict(checkpoint["train_loss"])
        for name, spent in checkpoint["spent"].items():
            setattr(self, name, spent)

    def _note(self, curve: str, value: float) -> None:
        """Add a point to a curve; a value that is no number ends the cell."""
        if not math.isfinite(value):
            name = curve.replace("_", " ")
            raise Diverged(f"the {name} became {value} in epoch {self.current_epoch + 1}")
        self.curves.setdefault(curve, []).append(value)

    def lap(self, part: str) -> None:
        """Add to `part` of the seconds the time since the last lap."""
        now = self._now()
        self.seconds[part] += now - self._started
        self._started = now

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def _clock(self, part: str) -> Iterator[None]:
        started = self._now()
        yield
        self.seconds[part] += self._now() - started


def _check_layers(tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor], what: str) -> None:
    """Raise BenchError unless there is one tensor of the right shape for each of `weights`."""
    for name in weights.keys() ^ tensors.keys():
        missing = "are missing for" if name in weights else "were given for the unknown weight"
        raise BenchError(f"{what} {missing} {name}")
    for name, weight in weights.items():
        if tensors[name].shape != weight.shape:
            shapes = f"{tuple(tensors[name].shape)}, the weight has {tuple(weight.shape)}"
            raise BenchError(f"{what} of {name} have shape {shapes}")
