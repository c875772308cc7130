"""The record of a multilayer perceptron without its dead neurons; does not import torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Size of a sparse multilayer perceptron without its dead neurons.

    As RigL counts it (table 2, appendix B; sparsity/architecture.py).
    """

    units: tuple[int, ...]
    """Inputs in use, neurons of each hidden layer, outputs."""
    kept: int
    """Weights that are kept between them."""
    total: int
    """Weights of the dense network of these units."""
    flops: float
    """Inference, 2 per kept weight: neither biases nor activations are counted here."""
    bytes: float
    """32 bits for each kept weight and each bias, one per weight of a sparse layer's bit mask."""

    @property
    def sparsity(self) -> float:
        """Sparsity of the compacted network."""
        return 1 - self.kept / self.total if self.total else 0.0

    def __str__(self) -> str:
        """Format as in the paper, without the outputs: `408-100-69`."""
        return "-".join(map(str, self.units[:-1]))
