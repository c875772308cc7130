"""NTT's student: a sparse copy of a dense network, drawn towards its outputs and its kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pai_bench import Masks
from pai_bench.networks.ntk import Tangent, outputs_and_kernel

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """What the student minimises: weights of the terms, and the tangents that its kernel has."""

    kernel: float
    l2: float
    """Of the sum of squared kept weights, the division by the density done."""
    tangent: Tangent


@dataclass(frozen=True)
class Distances:
    """From the teacher, on one batch; not weighted yet."""

    kernel: Tensor
    """Mean squared difference of the entries of the kernel between the halves of the batch."""
    outputs: Tensor
    """Mean squared difference of the logits of the whole batch."""


class Student:
    """The unmasked parameters of the student, its masks, and its optimizer.

    `teacher` is a network in evaluation mode that nobody else changes. The student starts as its
    copy; every parameter is optimised, weights through their masks (paper's code, section 1 of the
    specification).
    """

    def __init__(self, teacher: nn.Module, masks: Masks, objective: Objective, lr: float) -> None:
        self._network, self._objective = teacher, objective
        self._teacher = {name: p.detach() for name, p in teacher.named_parameters()}
        self.parameters = {name: p.clone() for name, p in self._teacher.items()}
        first = next(iter(self.parameters.values()))
        # On the CPU the fused step knows no half precision, as with SGD (methods/optimizer.py).
        fused = first.device.type == "cuda" or first.dtype in (torch.float32, torch.float64)
        self._adam = torch.optim.Adam(list(self.parameters.values()), lr, fused=fused)
        self.take(masks)

    def take(self, masks: Masks) -> None:
        """Wear other masks from now on. Values and Adam's moments of pruned weights stay."""
        self.masks = masks
        self._factors = {name: mask.to(self.parameters[name].dtype) for name, mask in masks.items()}

    def masked(self) -> Parameters:
        """The parameters that the network computes with: pruned weights are 0."""
        factors = self._factors
        return {n: p * factors[n] if n in factors else p for n, p in self.parameters.items()}

    def step(self, images: Tensor) -> None:
        """One step of Adam on a batch (n, ...)."""
        for name, gradient in self.gradients(images).items():
            self.parameters[name].grad = gradient
        self._adam.step()

    def gradients(self, images: Tensor) -> Parameters:
        """Gradient of the loss by the unmasked parameters; exactly 0 for pruned weights.

        That of the L2 term is written out: it costs nothing beside the mask's own product.
        """
        leaves = {name: p.detach().requires_grad_() for name, p in self.masked().items()}
        objective = self._objective
        distances = self.distances(leaves, images, kernel=bool(objective.kernel))
        found = torch.autograd.grad(
            objective.kernel * distances.kernel + distances.outputs,
            list(leaves.values()),
            materialize_grads=True,
        )
        gradients = dict(zip(leaves, found, strict=True))
        for name, factor in self._factors.items():
            kept = leaves[name].detach()
            gradients[name] = (gradients[name] * factor).add_(kept, alpha=2 * objective.l2)
        return gradients

    def distances(
        self, parameters: Mapping[str, Tensor], images: Tensor, kernel: bool = True
    ) -> Distances:
        """How far the network with `parameters` is from the teacher, with or without its kernel."""
        with torch.no_grad():
            target = self._look(self._teacher, images, kernel, tangent="dense")
        found = self._look(parameters, images, kernel, self._objective.tangent)
        kernels, outputs = (
            (one - two).square().mean() for one, two in zip(found, target, strict=True)
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

    def _look(
        self, parameters: Mapping[str, Tensor], images: Tensor, kernel: bool, tangent: Tangent
    ) -> tuple[Tensor, Tensor]:
        """Kernel between the halves of the batch, or a single 0; and the outputs."""
        if not kernel:
            outputs = functional_call(self._network, dict(parameters), (images,))
            return outputs.new_zeros(()), outputs
        outputs, kernels = outputs_and_kernel(
            self._network, images, len(images) // 2, tangent, self.masks, parameters=parameters
        )
        return kernels, outputs
