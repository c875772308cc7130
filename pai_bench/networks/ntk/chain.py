"""Derivatives layer by layer, from the last to the first: for an nn.Sequential of common layers.

The derivatives of the outputs are propagated backwards by ordinary operations. A gradient of the
kernel is then a first derivative: autograd need not differentiate twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from pai_bench.networks.ntk.layers import Trace, Use
from pai_bench.networks.ntk.plain import check_outputs, is_plain, shares_parameters

Pull = Callable[[Tensor], Tensor]
"""Pull-back: derivatives by a layer's output (n, k, ...) -> those by its input."""
Step = tuple[Tensor, Pull]


def supports(network: nn.Module) -> bool:
    """Whether all layers of the network are supported here, and each is used once, as it is."""
    containers = [module for module in network.modules() if isinstance(module, nn.Sequential)]
    if not isinstance(network, nn.Sequential) or shares_parameters(network):
        return False
    steps = list(_flat(network))
    return (
        len({id(layer) for _, layer in steps}) == len(steps)
        and all(is_plain(container, (nn.Sequential,)) for container in containers)
        and all(is_plain(layer, STEPS) and _has_common_options(layer) for _, layer in steps)
    )


def trace(network: nn.Module, parameters: Mapping[str, Tensor], images: Tensor) -> Trace:
    """Run the network forwards, then its derivatives backwards."""
    steps = list(_flat(network))
    pulls: list[tuple[str, nn.Module, Tensor, Pull]] = []
    current = images
    for name, layer in steps:
        inputs = current
        own = {key: parameters[f"{name}.{key}"] for key, _ in layer.named_parameters()}
        current, pull = STEPS[type(layer)](layer, own, inputs)
        pulls.append((name, layer, inputs, pull))
    check_outputs(current)
    return Trace(current, _backwards(current, pulls))


def _backwards(outputs: Tensor, pulls: list[tuple[str, nn.Module, Tensor, Pull]]) -> list[Use]:
    """Propagate the derivatives back to the first layer that has parameters."""
    n, k = outputs.shape
    derivative = torch.eye(k, dtype=outputs.dtype, device=outputs.device).expand(n, k, k)
    uses: list[Use] = []
    with_parameters = sum(any(True for _ in layer.parameters()) for _, layer, _, _ in pulls)
    for name, layer, inputs, pull in reversed(pulls):
        if any(True for _ in layer.parameters()):
            uses.append(Use(name, layer, inputs, derivative))
        if len(uses) == with_parameters:
            break
        derivative = pull(derivative)
    return uses


def _flat(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, layer in network.named_children():
        if isinstance(layer, nn.Sequential):
            yield from _flat(layer, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", layer


def _linear(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    weight = own["weight"]
    return functional.linear(
        inputs, weight, own.get("bias")
    ), lambda derivative: derivative @ weight


def _relu(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    on = (inputs > 0).to(inputs.dtype).unsqueeze(1)
    return inputs.relu(), lambda derivative: derivative * on


def _flatten(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    return inputs.flatten(1), lambda derivative: derivative.reshape(
        *derivative.shape[:2], *inputs.shape[1:]
    )


def _conv(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    assert isinstance(layer, nn.Conv2d)
    weight, sides = own["weight"], inputs.shape[2:]
    stride, padding, dilation, groups = layer.stride, layer.padding, layer.dilation, layer.groups
    assert not isinstance(padding, str)
    outputs = functional.conv2d(inputs, weight, own.get("bias"), stride, padding, dilation, groups)
    # Rows and columns that no filter reaches, because the stride steps over them.
    output_padding = [
        side - ((out - 1) * hop - 2 * around + step * (size - 1) + 1)
        for side, out, hop, around, step, size in zip(
            sides, outputs.shape[2:], stride, padding, dilation, layer.kernel_size, strict=True
        )
    ]

    def pull(derivative: Tensor) -> Tensor:
        pulled: Tensor = functional.conv_transpose2d(
            derivative.flatten(0, 1),
            weight,
            None,
            stride,
            padding,
            output_padding,
            groups,
            dilation,
        ).unflatten(0, derivative.shape[:2])
        return pulled

    return outputs, pull


def _max_pool(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    assert isinstance(layer, nn.MaxPool2d)
    outputs, indices = functional.max_pool2d(
        inputs,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.ceil_mode,
        return_indices=True,
    )

    def pull(derivative: Tensor) -> Tensor:
        """Route each value to the position of the maximum."""
        n, k, channels = derivative.shape[:3]
        positions = indices.flatten(2).unsqueeze(1).expand(n, k, channels, -1)
        pulled = derivative.new_zeros(n, k, channels, inputs.shape[2:].numel())
        pulled = pulled.scatter_add(3, positions, derivative.flatten(3))
        return pulled.view(n, k, *inputs.shape[1:])

    return outputs, pull


def _batch_norm(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    mean, variance = layer.running_mean, layer.running_var
    assert mean is not None
    assert variance is not None
    shape = (1, -1, *(1 for _ in inputs.shape[2:]))
    slope = (own["weight"] * (variance + layer.eps).rsqrt()).view(shape)
    outputs = (inputs - mean.view(shape)) * slope + own["bias"].view(shape)
    return outputs, lambda derivative: derivative * slope.unsqueeze(1)


def _identity(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    return inputs, lambda derivative: derivative


def _has_common_options(layer: nn.Module) -> bool:
    """Whether a layer's options are those that its step supports."""
    if isinstance(layer, nn.Flatten):
        return (layer.start_dim, layer.end_dim) == (1, -1)
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return layer.affine and layer.track_running_stats
    return not getattr(layer, "return_indices", False)


STEPS: dict[type[nn.Module], Callable[[nn.Module, Mapping[str, Tensor], Tensor], Step]] = {
    nn.Linear: _linear,
    nn.ReLU: _relu,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.MaxPool2d: _max_pool,
    nn.Flatten: _flatten,
    nn.Identity: _identity,
    nn.Dropout: _identity,
}
