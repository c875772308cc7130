"""The contract of a method: a LightningModule with its facts, hooks and helpers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pai_bench.core.errors import BenchError
from pai_bench.core.xla import mark_step
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.training_cost import TrainingCost
from pai_bench.store.search_cache import Search
from pai_bench.training.callbacks.learning_curves import LearningCurves
from pai_bench.training.callbacks.mask_enforcement import MaskEnforcement
from pai_bench.training.callbacks.phase_timer import PhaseTimer
from pai_bench.training.context import MethodContext
from pai_bench.training.length import TrainingLength
from pai_bench.training.pieces import Pieces
from pai_bench.training.restricted_batches import Batches, RestrictedBatches
from pai_bench.training.sanity_checks import inverted
from pai_bench.training.search_checkpoint import SearchCheckpoint
from pai_bench.training.shared_search import get_or_compute
from pai_bench.training.trainer_hooks import TrainerHooks


def _ignore(_message: str) -> None:
    """Discard a message: the progress callback of a module that no Trainer runs."""


class SparseClassifier(TrainerHooks):
    """A network, its masks, and the recipe that trains it.

    A method is a subclass. The class attributes below are facts that it declares, and the harness
    enforces them. Callbacks that come with the module (`configure_callbacks`) do what is the same
    for every method: they choose the masks before the first step, enforce them in each, time the
    phases and record learning curves. Weights at masked positions are exactly 0 in the parameters,
    so the state_dict is that of the plain network, under `network.`; a checkpoint of the Trainer
    also holds the masks.

    The class is longer than others because it is the whole contract in one place: facts, the hooks
    that a method may override, and the helpers that it may call. What the Trainer calls besides is
    in its base class.

    Args:
        network: The network to train, with its initial weights.
        context: Density, recipe and random streams of the cell.
        **hyper: Hyper-parameters: fields of `Hyper`, defaults for those not given.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Incremented on any change of behaviour; results of two versions are never compared."""
    paper: ClassVar[str | None] = None
    """Folder of the reproduced paper, or a reference (venue and year, arXiv number)."""
    when: ClassVar[Literal["init", "during", "path"]] = "init"
    """When weights are chosen: before training, during it, or by a training of their own."""
    prunes: ClassVar[bool] = True
    """False: the dense reference, which runs at density 1 only."""
    needs_data: ClassVar[bool] = True
    """False: scoring batches arrive as zeros of their shape."""
    needs_labels: ClassVar[bool] = True
    """False: scoring batches arrive with None for labels."""
    trains_to_score: ClassVar[bool] = False
    """True: masks are chosen by training; `sparsify` gets all training batches, not a few."""
    ranks_scores: ClassVar[bool] = True
    """False: no scores are ranked before training, so that the check `invert` has nothing to do."""
    scores_on_all_ranks: ClassVar[bool] = False
    """True: where several devices train one network, `sparsify` shares its work with the others,
    by `sum_over` (sparsity/saliency.py) and `train` (training/loop.py). False: each does all of it.
    Either way all devices train with the masks and weights of the first."""
    changes_weights: ClassVar[bool] = False
    """True: by its default options, training may start from other weights than the initial ones."""
    progress_interval: ClassVar[float] = 1.0
    """Least seconds between two progress messages while masks are chosen."""
    exact_density: ClassVar[bool] = True
    """False: masks come in steps (whole filters, say); the target density is an upper bound."""

    @dataclass(frozen=True)
    class Hyper:
        """Hyper-parameters: a frozen dataclass with literal defaults; part of a cell's identity."""

    def __init__(self, network: nn.Module, context: MethodContext, **hyper: Any) -> None:
        super().__init__()
        self.network, self.context = network, context
        self.hyper: Any = self.Hyper(**hyper)
        self.mask_enforcement = MaskEnforcement()
        self.learning_curves = LearningCurves()
        self.phase_timer = PhaseTimer()
        self.training_cost = TrainingCost()
        self.pieces = Pieces()
        """How each batch is cut, for want of memory."""
        self.masks = Masks.ones(network)
        self.initial_nonzero = self.masks.kept_by_layer()
        """Number of kept weights by weight name when training began."""
        self.training_cost.use(self.initial_nonzero)
        self.scoring_flops = 0.0
        self.reused_seconds = 0.0
        """Seconds of cached searches that another cell ran: charged to this cell as well."""
        self.search_ids: list[str] = []
        """Ids of the cached searches that were used."""
        self.search_checkpoint = SearchCheckpoint()
        """Where `compute` of `get_or_compute` saves what it has reached: see `SearchCheckpoint`."""
        self.measured: dict[str, Any] = {}
        """What the method has measured and results are to keep: plain data, by name."""
        self.resumed = False
        """True: the masks were loaded from a checkpoint."""
        self.constant_scores: tuple[str, ...] = ()
        """Layers whose weights all scored the same: what is kept of them, is by position."""
        self.progress_callback: Callable[[str], None] = _ignore
        """Called with each progress message while masks are chosen."""
        self._passes, self._last_report = 0, 0.0

    # What a method may override ------------------------------------------------------------------

    def sparsify(self, batches: Batches) -> Masks:
        """Choose the masks to start training with; everything is kept unless overridden.

        Runs once, before the first step, on the Trainer's device. It may change the weights of
        `self.network` only if the class declares `changes_weights`.

        Args:
            batches: (images, labels), shaped (N, C, H, W) and (N,): a few batches for scoring, or
                all training batches, one epoch an iteration, if the class declares
                `trains_to_score`. Without `needs_data` images are zeros; without `needs_labels`
                labels are None.

        Returns:
            One bool tensor per prunable weight, of its shape, True where the weight is kept.

        Raises:
            BenchError: The method cannot prune this network, or not at this density.
        """
        return Masks.ones(self.network)

    def on_dense_gradients(self) -> None:
        """Use the dense gradients of a step; a hook, called before they are masked.

        `weight.grad` holds, for masked weights too, the gradient of the batch, averaged over ranks
        and not yet clipped. A method that uses it calls `count_dense_gradient`, so that the
        training FLOPs are those of a real sparse training.
        """

    def batch_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Compute the training loss: the mean cross-entropy, with the recipe's label smoothing.

        Args:
            batch: Images (N, C, H, W) and labels (N,).

        Returns:
            A scalar tensor, in nats.
        """
        images, labels = batch
        smoothing = self.context.recipe.label_smoothing
        return cross_entropy(self.network(images), labels, label_smoothing=smoothing)

    def count_training(self, length: TrainingLength) -> None:
        """Count the FLOPs of a whole training without running it.

        A method that does more in training than to keep its masks counts it too, or raises. Masks
        that change in training are in the end as many in each layer as those of a training.

        Args:
            length: Steps, and images of each batch.

        Raises:
            BenchError: What the method does depends on what it has trained.
        """
        if self.when != "init":
            raise BenchError(f"{self.name} changes its masks by what it has trained")
        for number in range(length.steps):
            self.training_cost.count(length.batch(number))

    def progress_message(self) -> str:
        """Describe how far the choice of masks is; passes over batches are counted anyway.

        Returns:
            A short message such as "round 3 of 20", or "" if there is nothing to report.
        """
        return ""

    @property
    def most_density(self) -> float:
        """Density that masks chosen before training may have at most: the cell's, but for methods
        that choose from the masks they find. Each layer may round up by a weight."""
        return self.context.density

    # What a method may call ----------------------------------------------------------------------

    def set_masks(self, masks: Masks) -> None:
        """Replace the masks of the network, and set the weights that they remove to 0.

        Args:
            masks: One bool tensor per prunable weight, of its shape, on any device.

        Raises:
            BenchError: A layer's mask is missing, unknown, or of another shape than its weight.
        """
        weights = dict(prunable(self.network))
        ordered = in_layer_order(masks, weights, f"{type(self).__name__}: masks")
        self.masks = Masks({name: mask.to(self.device) for name, mask in ordered.items()})
        self.mask_enforcement.use(self.masks, self.network)
        self.training_cost.use(self.masks.kept_by_layer())

    def get_or_compute(
        self, settings: Mapping[str, Any], compute: Callable[[], Search]
    ) -> Mapping[str, Any]:
        """Return the state of a search, from the search cache or by running it.

        Several cells may need the same search (a training before pruning, say). The first one runs
        it; its FLOPs and seconds are charged to every cell that uses it.

        Args:
            settings: All that the search depends on besides method, network, data, recipe, seed
                and precision, as plain JSON data. The density belongs there only if the search
                depends on it.
            compute: Runs the search. It resumes where an earlier run was interrupted if it says
                what it is made of, by `self.search_checkpoint` or that of `train`
                (training/loop.py).

        Returns:
            The state of the search: tensors and plain data, by name.

        Raises:
            BenchError: A cached search cannot be read.
        """
        started = time.perf_counter()
        if self.context.search_cache is None:
            search = compute()
        else:
            search_id, search = get_or_compute(
                self.context.search_cache, settings, compute, self.search_checkpoint
            )
            self.search_ids.append(search_id)
            self.reused_seconds += max(0.0, search.seconds - (time.perf_counter() - started))
        self.scoring_flops += search.flops
        return search.state

    def ranked(
        self, scores: Mapping[str, Tensor], alive: Masks | None = None
    ) -> Mapping[str, Tensor]:
        """Return scores as they are to be ranked: inverted under the sanity check `invert`.

        Every method that ranks scores outside `PruneAtInit.keep` passes them through here.

        Args:
            scores: One tensor per prunable weight, by name; the highest are kept.
            alive: Weights that may be kept, the others rank last; all of them unless given.

        Returns:
            The same scores, or under `invert` their negatives.
        """
        return inverted(scores, alive) if self.context.sanity_check == "invert" else scores

    def count_dense_gradient(self, images: int) -> None:
        """Count a gradient of all weights, masked ones included, in the training FLOPs.

        Call it before the masks change. The pass over the batch is counted by `training_step`; for
        a batch that a method runs by itself call `self.training_cost.count(images)` too.

        Args:
            images: Number of images in the batch.
        """
        self.training_cost.count(0, dense=images)

    def restrict_inputs(self, batches: Batches, convert: bool = True) -> Batches:
        """Restrict batches to what the method declares to need, in the dtype of its weights.

        Args:
            batches: (images, labels), shaped (N, C, H, W) and (N,).
            convert: False: inputs have the dtype that they are to have.

        Returns:
            The same batches: images are zeros without `needs_data`, labels None without
            `needs_labels`. Iterating over them reports progress.
        """
        dtype = next(self.network.parameters()).dtype if convert else None
        return RestrictedBatches(
            batches,
            dtype,
            self.needs_data,
            self.needs_labels,
            copies=not self.trains_to_score,
            on_batch=self._report_batch,
        )

    def report_progress(self, *details: str) -> None:
        """Send `progress_message()` and `details` to the progress callback, rarely enough to read.

        At most one message is sent in `progress_interval` seconds.

        Args:
            *details: Further parts of the message.
        """
        now = time.monotonic()
        messages = [message for message in (self.progress_message(), *details) if message]
        if messages and now - self._last_report >= self.progress_interval:
            self._last_report = now
            self.progress_callback(", ".join(messages))

    def _report_batch(self, number: int, total: int) -> None:
        mark_step(next(self.network.parameters()).device)
        self._passes += number == 0
        self.report_progress(f"pass {self._passes}, batch {number + 1} of {total}")


def in_layer_order(
    tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor], what: str
) -> dict[str, Tensor]:
    """Bring a method's tensors into the order of the layers, whatever order it named them in.

    Args:
        tensors: One for each of `weights`, of its shape.
        weights: By name, in the order of the layers.
        what: What the tensors are, for messages.

    Raises:
        BenchError: They are no mapping to tensors; one is missing, unknown, or of another shape.
    """
    if not isinstance(tensors, Mapping):
        kind = type(tensors).__name__
        raise BenchError(f"{what} must be a tensor by name of each weight (a dict), got {kind}")
    for name in weights.keys() ^ tensors.keys():
        missing = "are missing for" if name in weights else "were given for the unknown weight"
        raise BenchError(f"{what} {missing} {name}")
    for name, weight in weights.items():
        if not isinstance(tensors[name], Tensor):
            kind = type(tensors[name]).__name__
            raise BenchError(f"{what} of {name} must be a tensor, got {kind}")
        if tensors[name].shape != weight.shape:
            shapes = f"{tuple(tensors[name].shape)}, the weight has {tuple(weight.shape)}"
            raise BenchError(f"{what} of {name} have shape {shapes}")
    return {name: tensors[name] for name in weights}
