"""NTT: Neural Tangent Transfer (ICML 2020)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pai_bench import Masks, SparseClassifier, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.reproductions.ntt.feed import Feed
from pai_bench.reproductions.ntt.student import Objective, Student
from pai_bench.sparsity.saliency import float_masks, mask_gradients, masked_forward
from pai_bench.sparsity.select import Rule, topk_masks
from pai_bench.store.search_cache import Search
from pai_bench.training.callbacks.learning_curves import Diverged
from pai_bench.training.restricted_batches import Batches

REPORT = 100
"""Steps between two rows of a search's history."""


@register("ntt")
class NTT(SparseClassifier):
    """Match a sparse copy to the dense network's outputs and tangent kernel, without labels; train.

    The student starts as a masked copy of the untrained network, the teacher; its masks are updated
    by magnitude at intervals. Defaults are the authors' for LeNet-300-100 on MNIST.
    """

    paper = "ntt"
    when = "path"
    needs_labels = False
    trains_to_score = True
    changes_weights = True

    @dataclass(frozen=True)
    class Hyper:
        """The search, and with `transfer` the weights that training starts from."""

        epochs: int = 20
        """Length of the search in passes, each of the training images over the batch size, rounded
        up."""
        steps: int = 0
        """Length of the search in steps; 0: as many as `epochs` are."""
        batch_size: int = 64
        """Batch size of the search, independent of the recipe's."""
        lr: float = 5e-4
        """Learning rate of Adam, whose moments are kept when the masks change."""
        kernel: float = 1e-3
        """Weight of the distance of kernels; 0: only outputs are matched."""
        l2: float = 1e-4
        """Weight of the sum of squared weights; it is divided by the density."""
        update_every: int = 100
        """Steps between mask updates; 0: the first masks stay."""
        tangent: Literal["dense", "masked"] = "dense"
        """Directions of the student's kernel: all weights, including pruned ones, as in the
        authors' code; or the kept ones only, the kernel of the network that will be trained."""
        scope: Literal["local", "global"] = "local"
        """The same density in each layer, or one ranking over all of them."""
        selection: Literal["above", "exact"] = "above"
        """`above`: the authors' rule, which keeps one weight fewer than the target."""
        start: Literal["magnitude", "logit-snip"] = "magnitude"
        """Score by which the first masks are chosen."""
        transfer: Literal["mask+weights", "mask", "mask+fresh"] = "mask+weights"
        """Weights that training starts from: the student's weights and biases, as published; the
        teacher's; or other initial weights, which shows the effect of the mask alone."""

        def __post_init__(self) -> None:
            for key in ("epochs", "batch_size"):
                if getattr(self, key) < 1:
                    raise BenchError(f"{key} must be at least 1, got {getattr(self, key)}")
            for key in ("steps", "kernel", "l2", "update_every"):
                if getattr(self, key) < 0:
                    raise BenchError(f"{key} must not be below 0, got {getattr(self, key)}")
            if self.lr <= 0:
                raise BenchError(f"lr must be above 0, got {self.lr}")

    _progress: tuple[int, int] | None = None
    """Step of the search, and how many it has."""

    def sparsify(self, batches: Batches) -> Masks:
        """Search, or load the search from the search cache; set the weights to start from.

        The search depends on all hyper-parameters but `transfer`.
        """
        settings = {key: value for key, value in asdict(self.hyper).items() if key != "transfer"}
        settings |= {
            "density": self.context.density,
            "invert": self.context.sanity_check == "invert",
        }
        state = self.get_or_compute(settings, lambda: self._search(batches))
        self._transfer(state["weights"])
        return Masks({n: mask.to(self.device) for n, mask in state["masks"].items()})

    def progress_message(self) -> str:
        """Say which step of the search it is in."""
        return "step {:,} of {:,}".format(*self._progress) if self._progress else ""

    def _transfer(self, weights: Mapping[str, Tensor]) -> None:
        """Set the weights that training starts from."""
        if self.hyper.transfer == "mask+weights":
            for name, parameter in self.network.named_parameters():
                parameter.data.copy_(weights[name])
        elif self.hyper.transfer == "mask+fresh":
            if self.context.other_start is None:
                raise BenchError(
                    "transfer=mask+fresh needs other initial weights; only a cell can draw them"
                )
            self.network.load_state_dict(self.context.other_start().state_dict())

    def _search(self, batches: Batches) -> Search:
        """Train the student; the state holds its masks, its masked weights, and the history."""
        feed = Feed(batches, self.hyper.batch_size)
        if feed.size < 2:
            raise BenchError(
                f"ntt compares the halves of a batch: it needs at least 2 images, got {feed.size}"
            )
        total = self.hyper.steps or self.hyper.epochs * -(-feed.images // feed.size)
        with torch.inference_mode(False), torch.enable_grad():
            student = self._student(feed.sample)
            flops = total * _flops(partial(student.gradients, feed.batch_like()))
            history = History(student, feed.sample[: feed.size])
            checkpoint = self.search_checkpoint
            checkpoint.add("student", student)
            checkpoint.add("history", history)
            checkpoint.add("images", feed)
            for step, images in zip(range(student.steps + 1, total + 1), feed, strict=False):
                self._progress = step, total
                student.step(images)
                if self._is_update(step, total):
                    student.set_masks(self._by_magnitude(student.parameters))
                if step % REPORT == 0 or step == total:
                    history.record(step)
                checkpoint.update()
        state = {"masks": dict(student.masks), "weights": student.masked(), "history": history.rows}
        return Search(state, flops)

    def _student(self, sample: Tensor) -> Student:
        """Build the student: a copy of the network with its first masks."""
        hyper = self.hyper
        teacher = copy.deepcopy(self.network).eval()
        if hyper.start == "logit-snip":
            masks = self._keep(_logit_saliency(teacher, sample), "exact")
        else:
            masks = self._by_magnitude({n: w.detach() for n, w in prunable(teacher)})
        objective = Objective(hyper.kernel, hyper.l2 / self.context.density, hyper.tangent)
        return Student(teacher, masks, objective, hyper.lr)

    def _is_update(self, step: int, total: int) -> bool:
        """Whether masks are updated after `step`; not in the last `update_every` steps."""
        every = self.hyper.update_every
        return bool(every) and step % every == 0 and step < total - every

    def _by_magnitude(self, parameters: Mapping[str, Tensor]) -> Masks:
        scores = {name: parameters[name].abs() for name in self.masks}
        return self._keep(scores, self.hyper.selection)

    def _keep(self, scores: Mapping[str, Tensor], rule: Rule) -> Masks:
        ranked = self.ranked(scores)
        return topk_masks(ranked, self.context.density, scope=self.hyper.scope, rule=rule)


class History:
    """Distances of the student from the teacher on one fixed batch, during a search."""

    def __init__(self, student: Student, images: Tensor) -> None:
        self._student, self._images = student, images
        self.rows: list[list[float]] = []
        """Step, distance of kernels, distance of outputs, sum of squared weights, and number of
        weights regrown since the row before."""
        self._masks = student.masks
        self.record(0)

    def record(self, step: int) -> None:
        """Add a row. Raises Diverged if a distance is not finite."""
        student = self._student
        with torch.no_grad():
            distances = student.distances(student.masked(), self._images)
            row = [float(distances.kernel), float(distances.outputs), float(student.l2())]
        if not all(map(math.isfinite, row)):
            raise Diverged(f"the distance to the dense network became {row} in step {step}")
        regrown = sum(int((student.masks[n] & ~self._masks[n]).sum()) for n in self._masks)
        self._masks = student.masks
        self.rows.append([float(step), *row, float(regrown)])

    def state_dict(self) -> dict[str, Any]:
        """Rows so far, and the masks at the last of them."""
        return {"rows": self.rows, "masks": dict(self._masks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.rows = state["rows"]
        device = self._images.device
        self._masks = Masks({name: mask.to(device) for name, mask in state["masks"].items()})


def _logit_saliency(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """|w d sum f^2 / dw| of each weight, f being the logits of the images."""
    masks = float_masks(Masks.ones(network), network)
    squares = masked_forward(network, masks)(images).square().sum()
    return {name: gradient.abs() for name, gradient in mask_gradients(squares, masks).items()}


def _flops(call: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())
