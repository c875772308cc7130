"""Derivatives by hand, layer by layer from the last: for an nn.Sequential of common layers.

The derivatives of the outputs are carried backwards in one pass of ordinary operations. A gradient
of the kernel is then an ordinary one: no second derivative is asked of autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from pai_bench.networks.ntk.layers import Trace, Use

Pull = Callable[[Tensor], Tensor]
"""From derivatives by a step's output (n, k, ...) to those by its input."""
Step = tuple[Tensor, Pull]


def can(network: nn.Module) -> bool:
    """Tell whether all that the network consists of is known here, each layer used once."""
    if not isinstance(network, nn.Sequential):
        return False
    steps = list(_flat(network))
    return len({id(layer) for _, layer in steps}) == len(steps) and all(
        type(layer) in STEPS and _common(layer) for _, layer in steps
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
    return Trace(current, _backwards(current, pulls))


def _backwards(outputs: Tensor, pulls: list[tuple[str, nn.Module, Tensor, Pull]]) -> list[Use]:
    """Carry the derivatives back to the first layer that has parameters."""
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
    return functional.linear(inputs, weight, own.get("bias")), lambda said: said @ weight


def _relu(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    on = (inputs > 0).to(inputs.dtype).unsqueeze(1)
    return inputs.relu(), lambda said: said * on


def _flatten(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    return inputs.flatten(1), lambda said: said.reshape(*said.shape[:2], *inputs.shape[1:])


def _conv(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    assert isinstance(layer, nn.Conv2d)
    weight, sides = own["weight"], inputs.shape[2:]
    stride, padding, dilation, groups = layer.stride, layer.padding, layer.dilation, layer.groups
    assert not isinstance(padding, str)
    outputs = functional.conv2d(inputs, weight, own.get("bias"), stride, padding, dilation, groups)
    # Rows and columns that no filter reaches, because the stride steps over them.
    left = [
        side - ((out - 1) * hop - 2 * around + step * (size - 1) + 1)
        for side, out, hop, around, step, size in zip(
            sides, outputs.shape[2:], stride, padding, dilation, layer.kernel_size, strict=True
        )
    ]

    def pull(said: Tensor) -> Tensor:
        back: Tensor = functional.conv_transpose2d(
            said.flatten(0, 1), weight, None, stride, padding, left, groups, dilation
        ).unflatten(0, said.shape[:2])
        return back

    return outputs, pull


def _max_pool(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    assert isinstance(layer, nn.MaxPool2d)
    outputs, winners = functional.max_pool2d(
        inputs,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.ceil_mode,
        return_indices=True,
    )

    def pull(said: Tensor) -> Tensor:
        """Hand each value to the place that won."""
        n, k, channels = said.shape[:3]
        places = winners.flatten(2).unsqueeze(1).expand(n, k, channels, -1)
        back = said.new_zeros(n, k, channels, inputs.shape[2:].numel())
        back = back.scatter_add(3, places, said.flatten(3))
        return back.view(n, k, *inputs.shape[1:])

    return outputs, pull


def _batch_norm(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    mean, variance = layer.running_mean, layer.running_var
    assert mean is not None
    assert variance is not None
    shape = (1, -1, *(1 for _ in inputs.shape[2:]))
    slope = (own["weight"] * (variance + layer.eps).rsqrt()).view(shape)
    outputs = (inputs - mean.view(shape)) * slope + own["bias"].view(shape)
    return outputs, lambda said: said * slope.unsqueeze(1)


def _nothing(layer: nn.Module, own: Mapping[str, Tensor], inputs: Tensor) -> Step:
    return inputs, lambda said: said


def _common(layer: nn.Module) -> bool:
    """Tell whether a layer is set as the step for it supposes."""
    if isinstance(layer, nn.Flatten):
        return (layer.start_dim, layer.end_dim) == (1, -1)
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return layer.affine and layer.track_running_stats
    return True


STEPS: dict[type[nn.Module], Callable[[nn.Module, Mapping[str, Tensor], Tensor], Step]] = {
    nn.Linear: _linear,
    nn.ReLU: _relu,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.MaxPool2d: _max_pool,
    nn.Flatten: _flatten,
    nn.Identity: _nothing,
    nn.Dropout: _nothing,
}
