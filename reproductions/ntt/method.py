"""NTT: Neural Tangent Transfer (ICML 2020)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

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
"""Steps between two points of a search's history."""


@register("ntt")
class NTT(SparseClassifier):
    """Draw a sparse copy to the dense network's outputs and tangent kernel, without labels; train.

    The student starts as the masked copy of the untrained network, and masks are chosen anew by
    magnitude every so many steps. Section numbers are those of the method's specification; defaults
    are the authors' for LeNet-300-100 on MNIST.
    """

    paper = "ntt"
    when = "path"
    needs_labels = False
    trains_to_score = True
    changes_weights = True

    @dataclass(frozen=True)
    class Hyper:
        """The search [3.2]; only `transfer` is about what comes after it."""

        epochs: int = 20
        """Length of the search, in units of the training images over the batch size, rounded up."""
        steps: int = 0
        """Length of the search in steps; 0: `epochs` says."""
        batch_size: int = 64
        """Of the search: its own, whatever the recipe's."""
        lr: float = 5e-4
        """Of Adam, whose moments outlive changes of the masks."""
        kernel: float = 1e-3
        """Weight of the distance of kernels; 0: outputs alone are matched."""
        l2: float = 1e-4
        """Weight of the sum of squared weights; it is divided by the density."""
        update_every: int = 100
        """Steps between choices of new masks; 0: the first masks stay."""
        tangent: Literal["dense", "masked"] = "dense"
        """Directions of the student's kernel: all weights, pruned ones at 0 too, as in the authors'
        code; or the kept ones only, which is the kernel of the network that will be trained [7]."""
        scope: Literal["local", "global"] = "local"
        """The same density in each layer, or one ranking over all of them."""
        selection: Literal["above", "exact"] = "above"
        """`above`: the authors' rule, one weight fewer than the density asks for [1.4]."""
        start: Literal["magnitude", "logit-snip"] = "magnitude"
        """What the first masks are chosen by."""
        transfer: Literal["mask+weights", "mask", "mask+fresh"] = "mask+weights"
        """Training starts from the student's weights and biases, as published; from the teacher's
        own; or from other initial weights, which shows what the mask alone is worth."""

        def __post_init__(self) -> None:
            for key in ("epochs", "batch_size"):
                if getattr(self, key) < 1:
                    raise BenchError(f"{key} must be at least 1, got {getattr(self, key)}")
            for key in ("steps", "kernel", "l2", "update_every"):
                if getattr(self, key) < 0:
                    raise BenchError(f"{key} must not be below 0, got {getattr(self, key)}")
            if self.lr <= 0:
                raise BenchError(f"lr must be above 0, got {self.lr}")

    def sparsify(self, batches: Batches) -> Masks:
        """Search, or take what the search of another cell has found; set the weights to start from.

        The search depends on everything but `transfer`.
        """
        settings = {key: value for key, value in asdict(self.hyper).items() if key != "transfer"}
        settings |= {
            "density": self.context.density,
            "invert": self.context.sanity_check == "invert",
        }
        found = self.get_or_compute(settings, lambda: self._search(batches))
        self._transfer(found["weights"])
        return Masks({n: mask.to(self.device) for n, mask in found["masks"].items()})

    def _transfer(self, weights: Mapping[str, Tensor]) -> None:
        """Give the network the weights that training starts from."""
        if self.hyper.transfer == "mask+weights":
            for name, parameter in self.network.named_parameters():
                parameter.data.copy_(weights[name])
        elif self.hyper.transfer == "mask+fresh":
            if self.context.other_start is None:
                raise BenchError("transfer=mask+fresh: nothing here builds other initial weights")
            self.network.load_state_dict(self.context.other_start().state_dict())

    def _search(self, batches: Batches) -> Search:
        """Optimise the student; `state` holds its masks, masked weights, and history."""
        feed = Feed(batches, self.hyper.batch_size)
        if feed.size < 2:
            raise BenchError(f"ntt compares the halves of a batch: it was given {feed.size} images")
        total = self.hyper.steps or self.hyper.epochs * -(-feed.images // feed.size)
        with torch.inference_mode(False), torch.enable_grad():
            student = self._student(feed.sample)
            probe = feed.sample[: feed.size]
            flops = total * _flops(partial(student.gradients, probe))
            history = History(student, probe)
            for step, images in zip(range(1, total + 1), feed, strict=False):
                student.step(images)
                if self._is_update(step, total):
                    student.take(self._by_magnitude(student.parameters))
                if step % REPORT == 0 or step == total:
                    history.note(step)
        state = {"masks": dict(student.masks), "weights": student.masked(), "history": history.rows}
        return Search(state, flops)

    def _student(self, sample: Tensor) -> Student:
        """A copy of the network, with its first masks."""
        hyper = self.hyper
        teacher = copy.deepcopy(self.network).eval()
        if hyper.start == "logit-snip":
            masks = self._keep(_logit_saliency(teacher, sample), "exact")
        else:
            masks = self._by_magnitude({n: w.detach() for n, w in prunable(teacher)})
        objective = Objective(hyper.kernel, hyper.l2 / self.context.density, hyper.tangent)
        return Student(teacher, masks, objective, hyper.lr)

    def _is_update(self, step: int, total: int) -> bool:
        """Masks move for the last time before the last `update_every` steps [1.4]."""
        every = self.hyper.update_every
        return bool(every) and step % every == 0 and step < total - every

    def _by_magnitude(self, parameters: Mapping[str, Tensor]) -> Masks:
        scores = {name: parameters[name].abs() for name in self.masks}
        return self._keep(scores, self.hyper.selection)

    def _keep(self, scores: Mapping[str, Tensor], rule: Rule) -> Masks:
        ranked = self.ranked(scores)
        return topk_masks(ranked, self.context.density, scope=self.hyper.scope, rule=rule)


class History:
    """How far the student is from the teacher on one fixed batch, as the search goes on."""

    def __init__(self, student: Student, images: Tensor) -> None:
        self._student, self._images = student, images
        self.rows: list[list[float]] = []
        """Step; distance of kernels, of outputs; sum of squared weights; weights revived since."""
        self._masks = student.masks
        self.note(0)

    def note(self, step: int) -> None:
        """Add a row. Raises Diverged where a distance is no number."""
        student = self._student
        with torch.no_grad():
            found = student.distances(student.masked(), self._images)
            row = [float(found.kernel), float(found.outputs), float(student.l2())]
        if not all(map(math.isfinite, row)):
            raise Diverged(f"the distance to the dense network became {row} in step {step}")
        moved = sum(int((student.masks[n] & ~self._masks[n]).sum()) for n in self._masks)
        self._masks = student.masks
        self.rows.append([float(step), *row, float(moved)])


def _logit_saliency(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """|w d sum f^2 / dw| of each weight, f being the logits of the images [1.4]."""
    masks = float_masks(Masks.ones(network), network)
    squares = masked_forward(network, masks)(images).square().sum()
    return {name: found.abs() for name, found in mask_gradients(squares, masks).items()}


def _flops(call: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())
