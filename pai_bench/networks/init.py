"""The initialisation that the NTK-SAP code gives to all its networks."""

from __future__ import annotations

from torch import nn

from pai_bench.sparsity.masks import PRUNABLE


def kaiming(network: nn.Module) -> nn.Module:
    """Draw every conv and linear weight from N(0, 2 / fan_in), in place.

    Biases keep PyTorch's uniform start, batch norms their 1 and 0 (NTK-SAP's code).
    """
    for module in network.modules():
        if isinstance(module, PRUNABLE):
            nn.init.kaiming_normal_(module.weight)
    return network
