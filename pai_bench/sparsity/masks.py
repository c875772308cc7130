"""Masks: one bool tensor per prunable weight, True where the weight is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pai_bench.core.errors import BenchError
from pai_bench.core.xla import is_xla
from pai_bench.sparsity.wrappers import unwrapped

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def layers(network: nn.Module) -> list[tuple[str, Layer]]:
    """List the conv and linear layers, prunable or not, by module name, in module order."""
    return [
        (name, module) for name, module in network.named_modules() if isinstance(module, PRUNABLE)
    ]


def prunable(network: nn.Module) -> list[tuple[str, Tensor]]:
    """List the weights that may be pruned, by parameter name, in module order.

    They are the weights of every linear and convolutional layer, first and last layers included,
    except those of layers that have an attribute `prunable = False`: set by the key `dense` of a
    network in benchmark.yaml, or by the builder. Biases and normalisation are never pruned
    (NTK-SAP's code, and design choice of this benchmark). A module of any other kind (recurrent,
    attention, with matrices of its own) may name parameters of its own that are prunable in an
    attribute `prunable_parameters`.

    Args:
        network: Any module.

    Returns:
        (name, weight) as in `network.named_parameters()`: the parameters themselves, no copies.

    >>> [name for name, _ in prunable(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))]
    ['0.weight']
    """
    return [
        (f"{name}.{key}" if name else key, getattr(module, key))
        for name, module in network.named_modules()
        for key in prunable_keys(module)
    ]


def prunable_keys(module: nn.Module) -> tuple[str, ...]:
    """Names of the prunable parameters that a module itself holds."""
    if isinstance(module, PRUNABLE):
        return ("weight",) if getattr(module, "prunable", True) else ()
    keys: tuple[str, ...] = getattr(module, "prunable_parameters", ())
    return keys


def left_out(network: nn.Module) -> dict[str, int]:
    """Count the weights of every matrix and kernel that is not prunable, by parameter name.

    Those of layers with `prunable = False` are left out on purpose, and not listed.
    """
    covered = {id(weight) for _, weight in prunable(network)}
    dense = (m for m in network.modules() if not getattr(m, "prunable", True))
    covered |= {id(parameter) for module in dense for parameter in module.parameters(recurse=False)}
    return {
        name: parameter.numel()
        for name, parameter in network.named_parameters()
        if parameter.dim() > 1 and id(parameter) not in covered
    }


def weight_name(layer: str) -> str:
    """Return the name of a layer's weight, as in `named_parameters`.

    >>> weight_name("conv1"), weight_name("")
    ('conv1.weight', 'weight')
    """
    return f"{layer}.weight" if layer else "weight"


def _true_values(mask: Tensor) -> int:
    """Number of True values."""
    # torch_xla 2.9 counts what is not 0 in a bool tensor by a bool, and so up to 1.
    return int(mask.sum() if is_xla(mask) else mask.count_nonzero())


class Masks(Mapping[str, Tensor]):
    """Masks of a network: parameter name -> bool tensor of the parameter's shape.

    True where the weight is kept. A mapping that does not change; its tensors are not copied.
    `pai_bench.prune` adds two attributes: `left_out`, the number of weights in each matrix or
    kernel that no mask covers, by parameter name; and `start`, the weights that training is to
    start from where a method chose others (`network.load_state_dict(masks.start, strict=False)`).

    Args:
        tensors: A mask for each prunable weight, by parameter name.

    Raises:
        TypeError: A mask is not of dtype bool.
    """

    left_out: Mapping[str, int] = MappingProxyType({})
    start: Mapping[str, Tensor] = MappingProxyType({})

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        for name, mask in tensors.items():
            if mask.dtype != torch.bool:
                raise TypeError(f"mask {name} must be bool, got {mask.dtype}")
        self._tensors = dict(tensors)

    @classmethod
    def ones(cls, network: nn.Module) -> Masks:
        """Keep everything.

        Args:
            network: Its prunable weights get masks, on the same device.

        Returns:
            Masks of nothing but True.
        """
        return cls({n: torch.ones_like(w, dtype=torch.bool) for n, w in prunable(network)})

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @property
    def total(self) -> int:
        """Number of prunable weights."""
        return sum(mask.numel() for mask in self.values())

    @property
    def kept(self) -> int:
        """Number of weights that are kept."""
        return sum(self.kept_by_layer().values())

    def kept_by_layer(self) -> dict[str, int]:
        """Count the weights that are kept.

        Returns:
            Parameter name -> number of True values.
        """
        return {name: _true_values(mask) for name, mask in self.items()}

    def weights_by_layer(self) -> dict[str, int]:
        """Count the weights, kept or not.

        Returns:
            Parameter name -> number of weights.
        """
        return {name: mask.numel() for name, mask in self.items()}

    def density(self) -> float:
        """Compute the density of the whole network.

        Returns:
            Kept over prunable weights, from 0 to 1; sparsity is 1 - density.
        """
        return self.kept / self.total

    def collapsed(self) -> list[str]:
        """Find the layers of which nothing is kept.

        Returns:
            Their parameter names.
        """
        return [name for name, kept in self.kept_by_layer().items() if kept == 0]

    def summary(self) -> str:
        """Describe the masks.

        Returns:
            A line per layer: name, kept, total, density.

        >>> print(Masks({"fc.weight": torch.tensor([[True, False]])}).summary())
        fc.weight  1 of 2 kept  density 0.5
        """
        kept = self.kept_by_layer()
        return "\n".join(
            f"{name}  {kept[name]} of {mask.numel()} kept  density {kept[name] / mask.numel():.4g}"
            for name, mask in self.items()
        )

    @torch.no_grad()
    def apply(self, network: nn.Module) -> None:
        """Set the weights at masked positions to exactly 0, in place.

        Args:
            network: Has all the parameters that there are masks for, on any device; it may be
                wrapped (see `unwrapped`).

        Raises:
            BenchError: It lacks one, or has it in another shape.
        """
        weights = dict(unwrapped(network).named_parameters(remove_duplicate=False))
        for name, mask in self.items():
            if name not in weights:
                raise BenchError(f"there is a mask for {name}, but no such parameter")
            if weights[name].shape != mask.shape:
                shapes = f"{tuple(mask.shape)}, the weight has {tuple(weights[name].shape)}"
                raise BenchError(f"the mask of {name} has shape {shapes}")
        for name, mask in self.items():
            weights[name].mul_(mask.to(weights[name].device))

    def digest(self) -> str:
        """Hash all masks.

        Returns:
            The same 32 hex digits for the same masks, on any device.
        """
        hashed = hashlib.blake2b(digest_size=16)
        for name, mask in self.items():
            hashed.update(name.encode())
            hashed.update(np.packbits(mask.cpu().numpy()).tobytes())
        return hashed.hexdigest()

    def save(self, path: Path) -> None:
        """Write the masks as a safetensors file of bool tensors.

        Args:
            path: The file; one that is there is replaced.
        """
        # `save_file` makes a file that nobody else may read, whatever the umask says.
        path.write_bytes(save({name: mask.contiguous().cpu() for name, mask in self.items()}))

    @classmethod
    def load(cls, path: Path) -> Masks:
        """Read what `save` wrote.

        Args:
            path: The file.

        Returns:
            The masks, on the CPU.
        """
        return cls(load_file(path))
