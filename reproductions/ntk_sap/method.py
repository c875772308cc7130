"""NTK-SAP: pruning by aligning the spectrum of the neural tangent kernel (ICLR 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn

from pai_bench import Masks, PruneAtInit, prunable, register
from pai_bench.core import distributed
from pai_bench.core.errors import BenchError
from pai_bench.core.nested import map_tensors
from pai_bench.networks.recompute import is_large
from pai_bench.networks.scratch import scratch_copy
from pai_bench.sparsity.account import BATCH_NORMS
from pai_bench.sparsity.saliency import (
    add_into,
    float_masks,
    mask_gradients,
    masked_forward,
    summed,
)
from pai_bench.training.context import MethodContext
from pai_bench.training.restricted_batches import Batches

PIECES = 8
"""Number of pieces in which a batch is passed that is large."""


class Draws(Protocol):
    """Source of random tensors, by weight configuration `c` and prunable tensor `t`, from 0."""

    def weights(self, c: int, t: int, like: Tensor) -> Tensor:
        """Draw the weights of tensor `t`, shaped as `like`."""

    def inputs(self, c: int, like: Tensor) -> Tensor:
        """Draw a batch of inputs, shaped as `like`."""

    def perturbation(self, c: int, t: int, like: Tensor) -> Tensor:
        """Draw the direction in which tensor `t` is perturbed, shaped as `like`."""


class NormalDraws:
    """Weights N(0, 2 / fan_in), inputs and perturbations N(0, 1), drawn on the CPU in order."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def weights(self, c: int, t: int, like: Tensor) -> Tensor:
        """Kaiming normal with fan-in and gain sqrt(2)."""
        fan_in = like[0].numel()
        return self._normal(like).mul_((2 / fan_in) ** 0.5)

    def inputs(self, c: int, like: Tensor) -> Tensor:
        """White noise."""
        return self._normal(like)

    def perturbation(self, c: int, t: int, like: Tensor) -> Tensor:
        """White noise."""
        return self._normal(like)

    def _normal(self, like: Tensor) -> Tensor:
        generator, dtype = self._generator, like.dtype
        noise = torch.randn(like.shape, generator=generator, dtype=dtype, device="cpu")
        return noise.to(like.device)


class Drawn(NamedTuple):
    """Random numbers for one gradient."""

    weights: dict[str, Tensor]
    inputs: Any
    perturbed: dict[str, Tensor]
    """The weights, each moved a little."""


@register("ntk-sap")
class NTKSAP(PruneAtInit):
    """Keep the weights whose removal would change the trace of the tangent kernel most.

    Scores need neither data and labels nor the initial weights: weights and inputs are random
    (paper, equation 10 and algorithm 1). Defaults are the authors' for CIFAR-10.
    """

    paper = "ntk-sap"
    scores_on_all_ranks = True
    needs_data = False
    needs_labels = False

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """The paper's T is `rounds`, its R is `repeats`."""

        rounds: int = 20
        repeats: int = 5
        """Weight configurations per batch and round."""
        epsilon: float = 0.01
        """Standard deviation of the perturbation; the paper quotes the variance, 1e-4."""
        start: Literal["initial", "last-draw"] = "initial"
        """Weights that training starts from: the initial ones of the cell's seed, which all methods
        share, as in the authors' script; or the last random ones of scoring, as in their
        `singleshot`."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.repeats < 1 or self.epsilon <= 0:
                raise BenchError(
                    f"repeats must be at least 1 and epsilon above 0, got {self.repeats} and "
                    f"{self.epsilon}"
                )

    def __init__(
        self, network: nn.Module, context: MethodContext, draws: Draws | None = None, **hyper: Any
    ) -> None:
        super().__init__(network, context, **hyper)
        self._custom_draws, self.draws = draws, draws
        self._last_weights: dict[str, Tensor] = {}

    def sparsify(self, batches: Batches) -> Masks:
        """Prune in rounds; unless `draws` is given, draw from the stream `score/ntk-sap`."""
        stream = self.context.rng.generator("score/ntk-sap")
        self.draws = self._custom_draws or NormalDraws(stream)
        masks = super().sparsify(batches)
        if self.hyper.start == "last-draw":
            for name, weight in prunable(self.network):
                weight.data.copy_(self._last_weights[name])
        self._last_weights = {}
        return masks

    def scores(self, network: nn.Module, batches: Batches) -> dict[str, Tensor]:
        """|sum over R weight configurations and all batches of dJ/dm|; 0 for pruned weights."""
        self.check_batches(batches)
        total: dict[str, Tensor] = {}
        for repeat in range(self.hyper.repeats):
            sweep = (self.round - 1) * self.hyper.repeats + repeat
            for index, (like, _) in enumerate(batches):
                drawn = self._draw(network, like, sweep * len(batches) + index)
                # Numbers are drawn one after the other, so each rank draws those of all batches.
                if index % distributed.ranks() == distributed.rank():
                    with distributed.alone():
                        add_into(total, self._gradients(network, drawn))
        total = summed(total, prunable(network))
        return {name: (score * self.masks[name]).abs() for name, score in total.items()}

    def _noise(self, c: int, like: Tensor) -> Tensor:
        """Draw inputs of configuration `c`. Raises BenchError for integers, which are no noise."""
        if not like.is_floating_point():
            raise BenchError("NTK-SAP's inputs are white noise; this network takes integers")
        assert self.draws is not None
        return self.draws.inputs(c, like)

    def _draw(self, network: nn.Module, like: Any, c: int) -> Drawn:
        """Draw configuration `c`: weights, inputs and a perturbation."""
        assert self.draws is not None
        shapes = {name: weight.detach() for name, weight in prunable(network)}
        weights = {n: self.draws.weights(c, t, w) for t, (n, w) in enumerate(shapes.items())}
        self._last_weights = weights
        inputs = map_tensors(like, partial(self._noise, c))
        perturbed = {
            n: weights[n] + self.hyper.epsilon * self.draws.perturbation(c, t, w)
            for t, (n, w) in enumerate(shapes.items())
        }
        return Drawn(weights, inputs, perturbed)

    def _gradients(self, network: nn.Module, drawn: Drawn) -> dict[str, Tensor]:
        """dJ/dm: J is the squared change of the masked network's logits.

        The statistics of batch norm are constants, so J is a sum over images: where a whole batch
        would need too much memory, its gradient is summed over pieces.
        """
        masks = float_masks(self.masks, network)
        state = calibrate(network, masks, drawn.weights, _fresh(drawn.inputs))
        total: dict[str, Tensor] = {}
        is_whole = not is_large(drawn.inputs)
        for inputs in [drawn.inputs] if is_whole else drawn.inputs.tensor_split(PIECES):
            base = masked_forward(network, masks, drawn.weights, state)(_fresh(inputs))
            shifted = masked_forward(network, masks, drawn.perturbed, state)(_fresh(inputs))
            add_into(total, mask_gradients((base - shifted).square().sum(), masks))
        return total


def _fresh(inputs: Any) -> Any:
    """Copy inputs: some networks change theirs."""
    return map_tensors(inputs, Tensor.clone)


def calibrate(
    network: nn.Module,
    masks: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    inputs: Any,
) -> dict[str, Tensor]:
    """Compute the batch norms' statistics for a batch, in the masked, unperturbed network.

    One pass in training mode with momentum 1 records the batch's mean and *unbiased* variance;
    gamma is 1 and beta 0. `network` is left in evaluation mode.

    Returns:
        Parameters and buffers of the batch norms by name, for use in evaluation mode.
    """
    state: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, BATCH_NORMS) and module.track_running_stats:
            module.momentum = 1.0
            fresh = scratch_copy(module)
            fresh.reset_parameters()
            state |= {f"{name}.{key}": value for key, value in fresh.state_dict().items()}
    if state:
        network.train()
        with torch.no_grad():
            masked_forward(network, masks, weights, state)(inputs)
    network.eval()
    return state
