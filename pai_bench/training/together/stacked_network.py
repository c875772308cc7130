"""K networks as one module, of which each network's own tensors are slices."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from pai_bench.training.together.stacked_layers import NotStackable, StackedDropout, stacked_layer


class StackedNetwork:
    """A copy of the first network with stacked layers, and K networks whose tensors alias it.

    The parameters and buffers of the K networks become slices of the stacked tensors: what a method
    or an optimizer does to its own network in place happens in the stack. Gradients are handed out
    as slices after each backward pass, unless one optimizer steps the stack (`take_over`).

    Args:
        networks: K networks that were built alike, on one device, in training mode, and for which
            `check_stackable` has nothing to say.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks
        self.module = _stacked(networks)
        self._pairs = self._alias()
        self._hands_out = True
        self._addresses = self._current_addresses()

    def _alias(self) -> list[tuple[Tensor, list[Tensor]]]:
        """Make each network's tensors slices; return stacked parameters with those of networks."""
        pairs = []
        for name, parameter in self.module.named_parameters():
            own: list[Tensor] = [network.get_parameter(name) for network in self.networks]
            for tensor, part in zip(own, parameter.data.unbind(0), strict=True):
                tensor.data = part
            pairs.append((parameter, own))
        for name, buffer in self.module.named_buffers():
            for network, part in zip(self.networks, buffer.unbind(0), strict=True):
                network.get_buffer(name).data = part
        return [(parameter, own) for parameter, own in pairs if parameter.requires_grad]

    def _current_addresses(self) -> list[int]:
        tensors = [
            tensor
            for network in self.networks
            for tensor in (*network.parameters(), *network.buffers())
        ]
        return [tensor.data_ptr() for tensor in tensors]

    def is_aliased(self) -> bool:
        """Tell whether all tensors of all networks still are slices of the stack."""
        return self._addresses == self._current_addresses()

    def use(self, generators: Sequence[Generator]) -> None:
        """Let each network's dropout draw from its own generator."""
        for module in self.module.modules():
            if isinstance(module, StackedDropout):
                module.generators = generators

    def take_over(self, optimizer: torch.optim.Optimizer) -> None:
        """Let an optimizer of all networks step the stacked tensors: K times fewer.

        The networks get no gradients from now on.
        """
        for group in optimizer.param_groups:
            theirs = {id(tensor) for tensor in group["params"]}
            group["params"] = [stacked for stacked, own in self._pairs if id(own[0]) in theirs]
        self._hands_out = False

    def zero_grad(self) -> None:
        """Drop all gradients; those of the networks too."""
        for parameter, own in self._pairs:
            parameter.grad = None
            for tensor in own if self._hands_out else ():
                tensor.grad = None

    def share_gradients(self) -> None:
        """Hand each network its slices of the gradients; none where a parameter was not used."""
        for parameter, own in self._pairs if self._hands_out else ():
            if parameter.grad is not None:
                for tensor, part in zip(own, parameter.grad.unbind(0), strict=True):
                    tensor.grad = part

    def logits(self, images: Tensor) -> Tensor:
        """Map images (N, K * C, H, W) to logits (N, K, classes)."""
        logits: Tensor = self.module(images)
        return logits.view(len(images), len(self.networks), -1)


def check_stackable(networks: Sequence[nn.Module], images: Tensor) -> None:
    """Check that networks which are built like these can be trained as one.

    Args:
        networks: Two networks, which are not changed.
        images: A few images (N, C, H, W), on which a stack is compared with each network.

    Raises:
        NotStackable: A layer has no stacked counterpart, or the network mixes channels between its
            layers, so that a stack computes something else.
    """
    stacked = _stacked(networks)
    if any(_names(network) != _names(stacked) for network in networks):
        raise NotStackable("a tensor belongs to no layer, or to two")
    _compare(stacked, networks, images)


def _stacked(networks: Sequence[nn.Module]) -> nn.Module:
    """Copy the first network with its layers replaced; containers and their forward code stay."""
    first = networks[0]
    siblings = {name: [network.get_submodule(name) for network in networks]
                for name, _ in first.named_modules()}  # fmt: skip
    replaced = {name: stacked_layer(name, layers) for name, layers in siblings.items()}
    if replaced[""] is not None:
        return replaced[""].train()
    # The layers themselves are left out of the copy: one that is kept beside its stacked
    # counterpart would be trained twice.
    memo = {
        id(layer): replaced[name]
        for name, layer in first.named_modules(remove_duplicate=False)
        if replaced.get(name) is not None
    }
    return copy.deepcopy(first, memo).train()


def _names(network: nn.Module) -> set[str]:
    return {name for name, _ in [*network.named_parameters(), *network.named_buffers()]}


@torch.no_grad()
def _compare(stacked: nn.Module, networks: Sequence[nn.Module], images: Tensor) -> None:
    """Compare a forward pass of the stack with those of the networks, without a trace of either.

    Both are in evaluation mode: nothing is random there, and no statistics change.
    """
    modes = [[module.training for module in network.modules()] for network in networks]
    stacked.eval()
    try:
        logits = stacked(images.repeat(1, len(networks), *[1] * (images.ndim - 2)))
        for index, network in enumerate(networks):
            alone = network.eval()(images)
            part = logits.view(len(images), len(networks), -1)[:, index]
            if part.shape != alone.shape or not _is_close(part, alone):
                raise NotStackable("the network mixes channels between its layers")
    except RuntimeError as error:
        raise NotStackable(f"a stack of the network cannot run: {error}") from error
    finally:
        stacked.train()
        for network, training in zip(networks, modes, strict=True):
            for module, mode in zip(network.modules(), training, strict=True):
                module.training = mode


def _is_close(part: Tensor, alone: Tensor) -> bool:
    tolerance = 1e-6 if alone.dtype == torch.float64 else 1e-2
    scale = float(alone.abs().max().clamp(min=1e-6))
    return bool(((part - alone).abs().max() / scale).nan_to_num(0.0) < tolerance)
