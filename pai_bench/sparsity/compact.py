"""Compacted networks: units without kept inputs or outputs are removed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pai_bench.sparsity.account import BATCH_NORMS, effective
from pai_bench.sparsity.masks import Layer, Masks, layers, weight_name
from pai_bench.sparsity.wiring import Channels, channels


class Shifted(nn.Module):
    """A layer plus the constant that its removed input channels added to its output."""

    def __init__(self, layer: nn.Module, shift: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.shift: Tensor
        self.register_buffer("shift", shift)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the layer's output (N, C, H, W) plus the shift (1, C, H, W)."""
        return self.layer(inputs) + self.shift  # type: ignore[no-any-return]


@torch.no_grad()
def compact_network(network: nn.Module, masks: Masks, shape: tuple[int, ...]) -> nn.Module:
    """Build the compacted dense network that computes what the masked `network` does.

    Removed are the neurons and channels that are on no path of kept weights from input to output;
    except channels of sums (the residual stream), inputs and outputs. In evaluation mode the
    outputs are equal up to rounding, for inputs of `shape`: the constant output of a unit without
    inputs (its bias, after batch norms) is added to the biases of the layers that read it, or,
    where zero padding makes it differ between positions, as a map. A collapsed layer keeps one
    unit. Masked weights of the units that are kept stay in place as zeros.

    Args:
        network: The network; it is not changed.
        masks: Its masks.
        shape: Shape of one input, without the batch.

    Returns:
        A new network in evaluation mode.

    Raises:
        BenchError: The network cannot be traced, or has operations that are not supported.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> masks = Masks({"0.weight": torch.tensor([[1, 1], [0, 0], [0, 1]]).bool(),
    ...     "2.weight": torch.tensor([[1, 1, 0]]).bool()})
    >>> compact_network(net, masks, (2,))
    Sequential(
      (0): Linear(in_features=2, out_features=1, bias=True)
      (1): ReLU()
      (2): Linear(in_features=1, out_features=1, bias=True)
    )
    """
    compacted = copy.deepcopy(network).eval()
    masks.apply(compacted)
    constants = _constant_inputs(compacted, shape)
    reached = effective(network, masks, shape)
    wiring = channels(compacted, constants)
    weights = {name: layer.weight for name, layer in layers(compacted)}
    outputs = {name: _alive(weights, name, users, reached) for name, users in wiring.items()}
    inputs = {into: outputs[name] for name, users in wiring.items() for into in users.into}
    for name, layer in layers(compacted):
        _remove_units(compacted, name, layer, outputs.get(name), inputs.get(name), constants)
    for name, users in wiring.items():
        for follower in users.along:
            _remove_channels(compacted.get_submodule(follower), outputs[name])
    return compacted


def _constant_inputs(network: nn.Module, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Inputs of each layer for an input of zeros, with the constants of units without inputs."""
    recorded: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(_recorder(recorded, name))
        for name, layer in layers(network)
    ]
    like = next(network.parameters())
    network(torch.zeros(1, *shape, dtype=like.dtype, device=like.device))
    for hook in hooks:
        hook.remove()
    return recorded


def _recorder(recorded: dict[str, Tensor], name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
    def record(_layer: nn.Module, inputs: tuple[Tensor]) -> None:
        recorded[name] = inputs[0].clone()

    return record


def _alive(weights: Mapping[str, Tensor], name: str, users: Channels, reached: Masks) -> Tensor:
    """Mark the output channels that are on a path from input to output: bool (C,)."""
    count = len(weights[name])
    leaving = torch.zeros(count, dtype=torch.bool)
    for into in users.into:
        inputs = _any_by(reached, into, 1, weights[into].shape[1])
        leaving |= inputs.view(count, -1).any(1)
    alive = leaving & _any_by(reached, name, 0, count)
    if not alive.any():
        alive[0] = True
    return alive.to(weights[name].device)


def _any_by(reached: Mapping[str, Tensor], name: str, dimension: int, count: int) -> Tensor:
    """Mark the units along a dimension of a weight with any reached; all of a dense layer."""
    mask = reached.get(weight_name(name))
    if mask is None:
        return torch.ones(count, dtype=torch.bool)
    return mask.cpu().transpose(0, dimension).flatten(1).any(1)


def _remove_units(
    network: nn.Module,
    name: str,
    layer: Layer,
    rows: Tensor | None,
    channels_in: Tensor | None,
    constants: Mapping[str, Tensor],
) -> None:
    """Keep the marked output units (`rows`) and input channels of a layer only."""
    shift = None
    if channels_in is not None:
        inputs = constants[name]
        columns = channels_in.repeat_interleave(inputs.shape[1] // len(channels_in))
        shift = _shift(layer, inputs, columns)
        _replace(layer, weight=layer.weight[:, columns])
    if rows is not None:
        _replace(layer, weight=layer.weight[rows])
        if layer.bias is not None:
            _replace(layer, bias=layer.bias[rows])
        shift = shift if shift is None else shift[:, rows]
    _set_sizes(layer)
    if shift is not None and shift.any():
        _add(network, name, layer, shift)


def _shift(layer: Layer, inputs: Tensor, columns: Tensor) -> Tensor:
    """What the removed inputs add to the layer's output: (1, C, H, W) or (1, C)."""
    constants = inputs.clone()
    constants[:, columns] = 0
    added: Tensor = layer(constants) - layer(torch.zeros_like(constants))
    return added


def _add(network: nn.Module, name: str, layer: Layer, shift: Tensor) -> None:
    """Add the shift to the layer's bias, or as a map where it differs between positions."""
    positions = shift[0].flatten(1) if shift.dim() > 2 else shift[0, :, None]
    first = positions[:, 0]
    rounding = 16 * torch.finfo(positions.dtype).eps * float(positions.abs().max())
    if float((positions - first[:, None]).abs().max()) <= rounding:
        _replace(layer, bias=first if layer.bias is None else layer.bias + first)
        return
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, Shifted(layer, shift))


def _remove_channels(module: nn.Module, kept: Tensor) -> None:
    """Remove channels from a batch norm or a depthwise convolution."""
    values = module.running_mean if isinstance(module, BATCH_NORMS) else module.weight
    values = module.weight if values is None else values
    mask = kept if values is None else kept.repeat_interleave(len(values) // len(kept))  # type: ignore[arg-type]
    for name, parameter in list(module.named_parameters(recurse=False)):
        _replace(module, **{name: parameter[mask]})
    for name, buffer in list(module.named_buffers(recurse=False)):
        if buffer.dim():
            setattr(module, name, buffer[mask])
    if isinstance(module, nn.Conv2d):
        module.in_channels = module.out_channels = module.groups = len(module.weight)
    elif isinstance(module, BATCH_NORMS):
        module.num_features = int(mask.sum())


def _replace(module: nn.Module, **values: Tensor) -> None:
    for name, value in values.items():
        setattr(module, name, nn.Parameter(value.clone()))


def _set_sizes(layer: Layer) -> None:
    """Set the sizes that the layer reports to those of its weight."""
    outputs, inputs = layer.weight.shape[:2]
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = outputs, inputs
    else:
        layer.out_channels, layer.in_channels = outputs, inputs * layer.groups
