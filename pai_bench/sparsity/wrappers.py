"""Modules that only wrap another one: its parameters are theirs, by longer names."""

from __future__ import annotations

from torch import nn


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside `torch.compile`, `DataParallel` or `DistributedDataParallel`.

    >>> type(unwrapped(nn.DataParallel(nn.Linear(2, 2)))).__name__
    'Linear'
    """
    while True:
        # torch.compile's class is private, and is imported with the compiler only.
        inner = vars(network).get("_modules", {}).get("_orig_mod")
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = network.module
        if inner is None:
            return network
        network = inner
