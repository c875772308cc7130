"""RigL again from the neurons and pixels that a first run has left (RigL+ of table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pai_bench import Masks, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.methods.moving_masks import moved, reset_moved
from pai_bench.networks.scratch import scratch_copy
from pai_bench.reproductions.rigl.method import RigL
from pai_bench.sparsity.account import effective, macs_by_layer
from pai_bench.sparsity.allocate import rigl_mnist, rigl_mnist_at
from pai_bench.sparsity.masks import layers, weight_name
from pai_bench.sparsity.narrow import Units, copy_units, is_depthwise, narrow
from pai_bench.sparsity.select import keep_largest, kept_count
from pai_bench.store.search_cache import Search
from pai_bench.training.loop import train
from pai_bench.training.optimizer import build_optimizer
from pai_bench.training.restricted_batches import Batches, extra_batch
from pai_bench.training.search_checkpoint import SearchCheckpoint


@register("rigl-restart")
class RigLRestart(RigL):
    """Train by RigL, keep the units that are left, and train a new network of these by RigL.

    The first run is one of `rigl` at the same density, of the same seed. Its dead neurons, and the
    inputs that nothing reads, are removed; the network that is left starts again from new weights
    and new random masks, sparser than the first (specification, 1.11: "RigL+"). It is trained as a
    part of the full network, whose other weights are never grown.
    """

    needs_data = True
    needs_labels = True
    trains_to_score = True
    changes_weights = True
    exact_density = False

    @dataclass(frozen=True)
    class Hyper(RigL.Hyper):
        """How sparse the second network is. The rest is for both runs, but for `update`: the first
        takes extra batches, as RigL's code does."""

        scope: Literal["global", "local", "er", "erk", "rigl-mnist"] = "rigl-mnist"
        """Densities of the layers in the first run."""
        sparsity: float = 0.96
        """Of the first layer of the second network, whose last is dense and others 0.9 as sparse;
        more where the density of the cell asks for it."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.sparsity < 1:
                raise BenchError(f"sparsity must be at least 0 and below 1, got {self.sparsity}")

    def sparsify(self, batches: Batches) -> Masks:
        """Run RigL, find what is left, and draw a new network of it with random masks."""
        shape = tuple(extra_batch(batches, 0)[0].shape[1:])
        hyper = {name: value for name, value in vars(self.hyper).items() if name != "sparsity"}
        settings = {"density": self.context.density, **hyper}
        first = self.get_or_compute(settings, lambda: self._first_run(batches, shape, hyper))
        units = live_units(self.network, Masks(first), shape)
        with self.context.rng.as_global("init/restart"):
            small = narrow(self.network, units, self.context.initialise or (lambda _network: None))
        copy_units(self.network, small, units)
        self.blocks = self._blocks(units)
        return self._drawn()

    def growth(self, step: int, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """|dL/dw|, and less than any for what was removed."""
        scores = super().growth(step, gradients)
        return {
            name: torch.where(self.blocks[name].to(score.device), score, -1.0)
            for name, score in scores.items()
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what is left of the network too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["blocks"] = dict(self.blocks)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what is left of the network."""
        super().on_load_checkpoint(checkpoint)
        self.blocks = Masks(checkpoint["blocks"])

    def _first_run(
        self, batches: Batches, shape: tuple[int, ...], hyper: Mapping[str, Any]
    ) -> Search:
        rigl = RigL(scratch_copy(self.network), self.context, **hyper).to(self.device)
        FirstRun(rigl, batches).train(self.search_checkpoint)
        macs = macs_by_layer(rigl.network, shape)
        flops = rigl.training_cost.flops(macs, rigl.masks.weights_by_layer())
        return Search({name: mask.cpu() for name, mask in rigl.masks.items()}, flops)

    def _blocks(self, units: Mapping[str, Units]) -> Masks:
        """Mark the prunable weights between units that are left."""
        return Masks(
            {
                weight_name(name): units[name].block(layer).to(layer.weight.device)
                for name, layer in layers(self.network)
                if weight_name(name) in self.masks
            }
        )

    def _drawn(self) -> Masks:
        """Draw random masks within the blocks."""
        generator = self.context.rng.generator("mask/restart")
        masks = {}
        for name, density in self._densities().items():
            block = self.blocks[name]
            count = int(block.sum())
            scores = torch.randn(count, generator=generator)
            kept = keep_largest(scores, kept_count(count, density))
            masks[name] = torch.zeros_like(block)
            masks[name][block] = kept.to(block.device)
        return Masks(masks)

    def _densities(self) -> dict[str, float]:
        """Densities of the layers of the second network, as small as the cell's asks for."""
        sizes = self.blocks.kept_by_layer()
        most = kept_count(self.masks.total, self.context.density)
        densities = rigl_mnist_at(sizes, self.hyper.sparsity)
        if sum(kept_count(sizes[name], d) for name, d in densities.items()) <= most:
            return densities
        # One less for each layer: each rounds up to a whole number of weights.
        shapes = {name: (size,) for name, size in sizes.items()}
        return rigl_mnist(shapes, max(1, most - len(sizes)) / sum(sizes.values()))


class FirstRun:
    """A training by RigL in a plain loop, step by step that of the cell of `rigl` with this seed.

    Args:
        rigl: The method around a network of its own.
        batches: All training batches.
    """

    def __init__(self, rigl: RigL, batches: Batches) -> None:
        self._rigl, self._batches, self._recipe = rigl, batches, rigl.context.recipe
        steps = self._recipe.training_steps(len(batches) * self._recipe.batch_size)
        self._schedule = rigl.schedule_of(steps)
        self._optimizer = build_optimizer(rigl.network, self._recipe)

    def train(self, checkpoint: SearchCheckpoint) -> None:
        """Train; the method is left with the masks of the end, and the cost of the training."""
        rigl = self._rigl
        rigl.set_masks(rigl.sparsify(self._batches))
        checkpoint.add("rigl", self)
        effort = train(
            rigl.network, rigl.masks, self._recipe, self._batches, by=self._optimizer,
            before_step=self._moved, checkpoint=checkpoint,
        )  # fmt: skip
        rigl.training_cost.count(effort.images)

    def state_dict(self) -> dict[str, Any]:
        """Masks and costs of the method so far."""
        state: dict[str, Any] = {}
        self._rigl.on_save_checkpoint(state)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with these."""
        self._rigl.on_load_checkpoint(state)

    def _moved(self, step: int) -> Masks | None:
        """Masks after the update at a step, if there is one."""
        rigl = self._rigl
        if not self._schedule.due(step):
            return None
        scores = rigl.growth(step, self._gradients(step // rigl.hyper.delta_t))
        if not all(bool(score.isfinite().all()) for score in scores.values()):
            return None
        before, counts = rigl.masks, rigl.counts(self._schedule.fraction(step))
        rigl.set_masks(moved(rigl.network, before, scores, counts))
        reset_moved(self._optimizer, rigl.network, before, rigl.masks)
        return rigl.masks

    def _gradients(self, number: int) -> dict[str, Tensor]:
        """Dense gradients of an extra batch."""
        rigl, (images, labels) = self._rigl, extra_batch(self._batches, number)
        weights = dict(prunable(rigl.network))
        with rigl.context.rng.as_global(f"extra/{number}"):
            outputs = rigl.network(images)
            loss = cross_entropy(outputs, labels, label_smoothing=self._recipe.label_smoothing)
            found = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        rigl.training_cost.count(len(labels), dense=len(labels))
        return dict(zip(weights, found, strict=True))


def live_units(network: nn.Module, masks: Masks, shape: tuple[int, ...]) -> dict[str, Units]:
    """Find the units of each layer that are on a path of kept weights from input to output.

    Args:
        network: Its layers.
        masks: Masks of the prunable ones; all units of the others are live.
        shape: Shape of one input, without the batch.

    Returns:
        Layer name -> its units; a layer through which no path leads keeps its first.
    """
    reached = effective(network, masks, shape)
    units = {}
    for name, layer in layers(network):
        mask = reached.get(weight_name(name), torch.ones(layer.weight.shape)).cpu().bool()
        outputs, inputs = mask.flatten(1).any(1), mask.transpose(0, 1).flatten(1).any(1)
        for alive in (outputs, inputs):
            alive[0] |= not alive.any()
        units[name] = Units(outputs, outputs if is_depthwise(layer) else inputs)
    return units
