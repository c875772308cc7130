"""RigL's character-level language model: an embedding, a GRU, two linear layers, the embedding."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Widths:
    """Units of each layer, as in RigL; the last linear layer is as wide as the embedding."""

    embedding: int = 128
    state: int = 512
    readout: int = 256


class Gates(nn.Module):
    """Gates of a GRU: elementwise functions of its state and of the outputs of its two layers."""

    def forward(self, from_input: Tensor, from_state: Tensor, state: Tensor) -> Tensor:
        """Return the next state (N, H), from (N, 3 H) for reset, update and new, in this order."""
        reset, update, new = from_input.chunk(3, 1)
        reset_by_state, update_by_state, new_by_state = from_state.chunk(3, 1)
        reset = torch.sigmoid(reset + reset_by_state)
        update = torch.sigmoid(update + update_by_state)
        new = torch.tanh(new + reset * new_by_state)
        return new + update * (state - new)

    def reached(self, from_input: Tensor, from_state: Tensor, state: Tensor) -> Tensor:
        """Return a sum that is positive where the next state depends on a positive input."""
        dependencies = (*from_input.chunk(3, 1), *from_state.chunk(3, 1), state)
        return torch.stack(dependencies).sum(0)


class GRU(nn.Module):
    """One layer of gated recurrent units, with torch.nn.GRU's equations.

    Its two matrices are linear layers, so that they are masked, scored and counted (once for each
    step of a sequence) as those are. They are initialised as in torch.nn.GRU, uniform within
    1 / sqrt(state).
    """

    def __init__(self, inputs: int, state: int) -> None:
        super().__init__()
        self.state = state
        self.input = nn.Linear(inputs, 3 * state)
        self.recurrent = nn.Linear(state, 3 * state)
        self.gates = Gates()
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(state), 1 / math.sqrt(state))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the states (N, L, H) after each step of (N, L, inputs), from a state of 0."""
        steps = self.input(inputs).unbind(1)
        state = steps[0].new_zeros(len(inputs), self.state)
        states = []
        for step in steps:
            state = self.gates(step, self.recurrent(state), state)
            states.append(state)
        return torch.stack(states, 1)


class CharacterModel(nn.Module):
    """Maps symbols to logits of the symbol that follows each of them.

    Args:
        symbols: Number of different symbols.
        tied: Use the embedding, which is never masked, for the logits too; else they have a linear
            layer of their own, which is masked.
        widths: Units of each layer; by default RigL's.
    """

    def __init__(self, symbols: int, tied: bool, widths: Widths | None = None) -> None:
        super().__init__()
        widths = widths or Widths()
        self.embedding = nn.Embedding(symbols, widths.embedding)
        self.gru = GRU(widths.embedding, widths.state)
        layers = OrderedDict(
            fc1=nn.Linear(widths.state, widths.readout),
            relu=nn.ReLU(),
            fc2=nn.Linear(widths.readout, widths.embedding),
        )
        self.readout = nn.Sequential(layers)
        self.logits = nn.Linear(widths.embedding, symbols, bias=not tied)
        if tied:
            self.logits.weight = self.embedding.weight
            self.logits.prunable = False  # type: ignore[assignment]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, symbols, L) for symbols (N, 1, 1, L), whole numbers of any dtype.

        Other numbers, as from methods that score on noise, are clamped to the nearest symbol.
        """
        symbols = inputs.flatten(1).long().clamp(0, self.embedding.num_embeddings - 1)
        logits: Tensor = self.logits(self.readout(self.gru(self.embedding(symbols))))
        return logits.transpose(1, 2)


def gru_rigl(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """RigL's model, with the embedding shared by input and output.

    1,146,880 prunable weights with 256 symbols: the GRU's two matrices and the two linear layers.
    The paper calls the embedding shared, and its last layer is as wide: logits are its products
    with the embedding. It does not specify biases, what is between the linear layers (a ReLU here)
    or where the reset gate is applied (after the product, as in cuDNN).
    """
    return CharacterModel(_symbols(shape, classes), tied=True)


def gru_rigl_untied(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """RigL's model, read otherwise: a separate linear layer from the last 128 units to logits."""
    return CharacterModel(_symbols(shape, classes), tied=False)


def _symbols(shape: tuple[int, int, int], classes: int) -> int:
    if shape[:2] != (1, 1):
        raise ValueError(f"takes sequences of symbols, of shape (1, 1, length), not {shape}")
    return classes
