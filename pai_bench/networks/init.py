"""The papers' initialisations, by name. Each draws in place, layer by layer in module order.

What a paper does not specify keeps PyTorch's default: conv and linear weights and biases uniform
within 1 / sqrt(fan_in), normalisation with scale 1 and shift 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from pai_bench.core.errors import unknown
from pai_bench.networks.residual import Residual
from pai_bench.sparsity.masks import layers

TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a standard normal cut off at -2 and 2."""


def kaiming(network: nn.Module) -> None:
    """Draw every conv and linear weight from N(0, 2 / fan_in); biases stay (NTK-SAP's code)."""
    for _, layer in layers(network):
        nn.init.kaiming_normal_(layer.weight)


def ntt(network: nn.Module) -> None:
    """Truncated Glorot: variance 2 / (fan_in + fan_out), biases N(0, 0.01^2) (NTT's code)."""
    for _, layer in layers(network):
        fan_in, fan_out = _fans(layer.weight)
        _truncated_normal(layer.weight, 2 / (fan_in + fan_out))
        if layer.bias is not None:
            nn.init.normal_(layer.bias, std=0.01)


def glorot(network: nn.Module) -> None:
    """Glorot uniform, within sqrt(6 / (fan_in + fan_out)); biases 0.

    RigL's code names no initialiser for MNIST and CIFAR-10: this is TensorFlow's own.
    """
    for _, layer in layers(network):
        nn.init.xavier_uniform_(layer.weight)
        _zero_bias(layer.bias)


def rigl_imagenet(network: nn.Module) -> None:
    """Variance scaling as in RigL's ResNet-50: convs truncated normal of variance 1 / fan_in.

    Linear layers are N(0, 0.01^2); the last batch norm of each residual block starts with scale 0,
    so that a block starts as its shortcut. The paper specifies neither where the normal is cut off
    nor the biases: we cut off at two deviations, as TensorFlow does, and take 0. Nor does it
    specify MobileNet, which gets the same; a depthwise filter has fan_in 9.
    """
    for _, layer in layers(network):
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        else:
            _truncated_normal(layer.weight, 1 / _fans(layer.weight)[0])
        _zero_bias(layer.bias)
    for module in network.modules():
        if isinstance(module, Residual):
            nn.init.zeros_(module.last_norm.weight)


def he_fan_out(network: nn.Module) -> None:
    """Convs N(0, 2 / fan_out), linear layers with PyTorch's default (DessiLBI's ResNets)."""
    for _, layer in layers(network):
        if not isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def dessilbi_vgg(network: nn.Module) -> None:
    """Convs N(0, 2 / fan_in), linear layers N(0, 0.01^2); biases stay (DessiLBI's VGG-16)."""
    for _, layer in layers(network):
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        else:
            nn.init.kaiming_normal_(layer.weight)


def keep(network: nn.Module) -> None:
    """Leave the weights as the builder made them."""


INITS: dict[str, Callable[[nn.Module], None]] = {
    "kaiming": kaiming,
    "ntt": ntt,
    "glorot": glorot,
    "rigl-imagenet": rigl_imagenet,
    "he-fan-out": he_fan_out,
    "dessilbi-vgg": dessilbi_vgg,
}


def named(name: str | None) -> Callable[[nn.Module], None]:
    """Look up an initialisation by name; None keeps the weights of the builder.

    Raises:
        BenchError: The name is unknown.
    """
    if name is None:
        return keep
    if name not in INITS:
        raise unknown("initialisation", name, INITS)
    return INITS[name]


def _fans(weight: Tensor) -> tuple[int, int]:
    """Return fan_in and fan_out of a weight (out, in, ...)."""
    return weight[0].numel(), weight[:, 0].numel()


def _truncated_normal(weight: Tensor, variance: float) -> None:
    """Draw a normal cut off at two deviations, wide enough to have `variance` after the cut."""
    std = math.sqrt(variance) / TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def _zero_bias(bias: Tensor | None) -> None:
    if bias is not None:
        nn.init.zeros_(bias)
