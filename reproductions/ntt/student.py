"""NTT's student: a sparse copy of a dense network, trained to match its outputs and kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pai_bench import Masks
from pai_bench.core.xla import mark_step
from pai_bench.networks.ntk import Tangent, outputs_and_kernel

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """The student's loss: weights of its terms, and the tangents of the student's kernel."""

    kernel: float
    """Weight of the distance of kernels."""
    l2: float
    """Weight of the sum of squared kept weights, already divided by the density."""
    tangent: Tangent
    """Directions of the student's kernel: all weights, or the kept ones."""


@dataclass(frozen=True)
class Distances:
    """Distances from the teacher on one batch, not weighted."""

    kernel: Tensor
    """Mean squared difference of the kernels between the halves of the batch."""
    outputs: Tensor
    """Mean squared difference of the logits of the batch."""


class Student:
    """The unmasked parameters of the student, its masks, and its optimizer.

    The student starts as a copy of the teacher; every parameter is optimised, weights through their
    masks, as in the authors' code.

    Args:
        teacher: A network in evaluation mode, which must not change.
        masks: The first masks.
        objective: The loss.
        lr: Learning rate of Adam.
    """

    def __init__(self, teacher: nn.Module, masks: Masks, objective: Objective, lr: float) -> None:
        self._network, self._objective = teacher, objective
        self._teacher = {name: p.detach() for name, p in teacher.named_parameters()}
        self.parameters = {name: p.clone() for name, p in self._teacher.items()}
        first = next(iter(self.parameters.values()))
        # On the CPU the fused step does not support half precision (see training/optimizer.py).
        on_cpu = first.device.type == "cpu" and first.dtype in (torch.float32, torch.float64)
        fused = first.device.type == "cuda" or on_cpu
        self._adam = torch.optim.Adam(list(self.parameters.values()), lr, fused=fused)
        self.steps = 0
        """Done so far."""
        self.set_masks(masks)

    def set_masks(self, masks: Masks) -> None:
        """Replace the masks. Values and Adam's moments of pruned weights do not change."""
        self.masks = masks
        self._factors = {name: mask.to(self.parameters[name].dtype) for name, mask in masks.items()}

    def masked(self) -> Parameters:
        """Return the parameters with pruned weights set to 0."""
        factors = self._factors
        return {n: p * factors[n] if n in factors else p for n, p in self.parameters.items()}

    def step(self, images: Tensor) -> None:
        """Do one step of Adam on a batch of images (N, C, H, W)."""
        for name, gradient in self.gradients(images).items():
            parameter = self.parameters[name]
            # cuDNN lays gradients of convolutions out as it likes; the fused step wants one layout.
            same = gradient.stride() == parameter.stride()
            parameter.grad = gradient if same else torch.empty_like(parameter).copy_(gradient)
        self._adam.step()
        self.steps += 1
        mark_step(images.device)

    def state_dict(self) -> dict[str, Any]:
        """All that steps change."""
        return {
            "parameters": self.parameters,
            "masks": dict(self.masks),
            "adam": self._adam.state_dict(),
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name, parameter in self.parameters.items():
            parameter.copy_(state["parameters"][name])
        device = next(iter(self.parameters.values())).device
        self.set_masks(Masks({name: mask.to(device) for name, mask in state["masks"].items()}))
        self._adam.load_state_dict(state["adam"])
        self.steps = state["steps"]

    def gradients(self, images: Tensor) -> Parameters:
        """Gradient of the loss by the unmasked parameters; exactly 0 for pruned weights.

        That of the L2 term is added by hand: after the product with the mask it is almost free.
        """
        leaves = {name: p.detach().requires_grad_() for name, p in self.masked().items()}
        objective = self._objective
        distances = self.distances(leaves, images, kernel=bool(objective.kernel))
        values = torch.autograd.grad(
            objective.kernel * distances.kernel + distances.outputs,
            list(leaves.values()),
            materialize_grads=True,
        )
        gradients = dict(zip(leaves, values, strict=True))
        for name, factor in self._factors.items():
            kept = leaves[name].detach()
            gradients[name] = (gradients[name] * factor).add_(kept, alpha=2 * objective.l2)
        return gradients

    def distances(
        self, parameters: Mapping[str, Tensor], images: Tensor, kernel: bool = True
    ) -> Distances:
        """Distances of the network with `parameters` from the teacher; without `kernel`, that of
        kernels is 0."""
        with torch.no_grad():
            target = self._evaluate(self._teacher, images, kernel, tangent="dense")
        student = self._evaluate(parameters, images, kernel, self._objective.tangent)
        kernels, outputs = (
            (one - other).square().mean() for one, other in zip(student, target, strict=True)
        )
        return Distances(kernels, outputs)

    def loss(self, images: Tensor) -> Tensor:
        """The weighted sum of all terms."""
        with torch.no_grad():
            distances = self.distances(self.masked(), images)
        objective = self._objective
        return objective.kernel * distances.kernel + distances.outputs + objective.l2 * self.l2()

    def l2(self) -> Tensor:
        """Sum of the squared kept weights, without biases."""
        masked = self.masked()
        return torch.stack([masked[name].square().sum() for name in self.masks]).sum()

    def _evaluate(
        self, parameters: Mapping[str, Tensor], images: Tensor, kernel: bool, tangent: Tangent
    ) -> tuple[Tensor, Tensor]:
        """The kernel between the halves of the batch (0 without `kernel`), and the outputs."""
        if not kernel:
            outputs = functional_call(self._network, dict(parameters), (images,))
            return outputs.new_zeros(()), outputs
        outputs, kernels = outputs_and_kernel(
            self._network, images, len(images) // 2, tangent, self.masks, parameters=parameters
        )
        return kernels, outputs
