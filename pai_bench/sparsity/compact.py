"""The smaller network that a mask leaves: units that nothing enters or leaves are removed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pai_bench.sparsity.account import effective
from pai_bench.sparsity.masks import Layer, Masks, layers, weight_name
from pai_bench.sparsity.wiring import BATCH_NORMS, Channels, channels


class Shifted(nn.Module):
    """A layer, plus what channels that are gone used to add at each place of its output."""

    def __init__(self, layer: nn.Module, shift: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.shift: Tensor
        self.register_buffer("shift", shift)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shift the layer's output (N, C, H, W)."""
        return self.layer(inputs) + self.shift  # type: ignore[no-any-return]


@torch.no_grad()
def compact_network(network: nn.Module, masks: Masks, shape: tuple[int, ...]) -> nn.Module:
    """Build the smaller dense network that computes what the masked `network` does.

    Removed are the neurons and channels that have no kept weight coming in, or none going out, and
    whatever has none left without those; except channels of sums (the residual stream), inputs and
    outputs. In evaluation mode the outputs are equal up to rounding, for inputs of `shape`: what a
    unit without inputs still gives (its bias, passed on by batch norms) is added to the biases of
    the layers that read it, or, where a border of zeros makes it differ from place to place, as a
    map. A layer of which nothing is left keeps one unit. Weights that are masked stay as zeros
    inside what is left.

    The network itself stays as it is; the new one is in evaluation mode.
    Raises BenchError for operations that cannot be followed.

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
    small = copy.deepcopy(network).eval()
    masks.apply(small)
    given = _given(small, shape)
    reached = effective(network, masks, shape)
    wiring = channels(small, given)
    weights = {name: layer.weight for name, layer in layers(small)}
    kept = {name: _alive(weights, name, ways, reached) for name, ways in wiring.items()}
    read = {reader: kept[name] for name, ways in wiring.items() for reader in ways.into}
    for name, layer in layers(small):
        _cut(small, name, layer, kept.get(name), read.get(name), given)
    for name, ways in wiring.items():
        for follower in ways.along:
            _cut_along(small.get_submodule(follower), kept[name])
    return small


def _given(network: nn.Module, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """What each layer is given for an input of zeros: of units without inputs, what they give."""
    found: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(_recorder(found, name)) for name, layer in layers(network)
    ]
    first = next(network.parameters())
    network(torch.zeros(1, *shape, dtype=first.dtype, device=first.device))
    for hook in hooks:
        hook.remove()
    return found


def _recorder(found: dict[str, Tensor], name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
    def record(_layer: nn.Module, inputs: tuple[Tensor]) -> None:
        found[name] = inputs[0].clone()

    return record


def _alive(weights: Mapping[str, Tensor], name: str, ways: Channels, reached: Masks) -> Tensor:
    """Tell of each output channel whether a path from input to output goes through it."""
    count = len(weights[name])
    leaving = torch.zeros(count, dtype=torch.bool)
    for reader in ways.into:
        inputs = _any_by(reached, reader, 1, weights[reader].shape[1])
        leaving |= inputs.view(count, -1).any(1)
    alive = leaving & _any_by(reached, name, 0, count)
    if not alive.any():
        alive[0] = True
    return alive.to(weights[name].device)


def _any_by(reached: Mapping[str, Tensor], name: str, dimension: int, count: int) -> Tensor:
    """Tell along a dimension of a weight where any is reached; of a dense layer, everywhere."""
    mask = reached.get(weight_name(name))
    if mask is None:
        return torch.ones(count, dtype=torch.bool)
    return mask.cpu().transpose(0, dimension).flatten(1).any(1)


def _cut(
    network: nn.Module,
    name: str,
    layer: Layer,
    rows: Tensor | None,
    channels_in: Tensor | None,
    given: Mapping[str, Tensor],
) -> None:
    """Remove units from a layer: of its own output (`rows`), and of the one that it reads."""
    shift = None
    if channels_in is not None:
        inputs = given[name]
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
    """What the inputs that go away add to the layer's output, (1, C, H, W) or (1, C)."""
    constants = inputs.clone()
    constants[:, columns] = 0
    added: Tensor = layer(constants) - layer(torch.zeros_like(constants))
    return added


def _add(network: nn.Module, name: str, layer: Layer, shift: Tensor) -> None:
    """Add the shift to the layer's bias, or as a map where it differs from place to place."""
    places = shift[0].flatten(1) if shift.dim() > 2 else shift[0, :, None]
    first = places[:, 0]
    rounding = 16 * torch.finfo(places.dtype).eps * float(places.abs().max())
    if float((places - first[:, None]).abs().max()) <= rounding:
        _replace(layer, bias=first if layer.bias is None else layer.bias + first)
        return
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, Shifted(layer, shift))


def _cut_along(module: nn.Module, kept: Tensor) -> None:
    """Remove channels from a batch norm or a depthwise convolution."""
    of = module.running_mean if isinstance(module, BATCH_NORMS) else module.weight
    of = module.weight if of is None else of
    chosen = kept.repeat_interleave(len(of) // len(kept)) if of is not None else kept  # type: ignore[arg-type]
    for name, parameter in list(module.named_parameters(recurse=False)):
        _replace(module, **{name: parameter[chosen]})
    for name, buffer in list(module.named_buffers(recurse=False)):
        if buffer.dim():
            setattr(module, name, buffer[chosen])
    if isinstance(module, nn.Conv2d):
        module.in_channels = module.out_channels = module.groups = len(module.weight)
    elif isinstance(module, BATCH_NORMS):
        module.num_features = int(chosen.sum())


def _replace(module: nn.Module, **values: Tensor) -> None:
    for name, value in values.items():
        setattr(module, name, nn.Parameter(value.clone()))


def _set_sizes(layer: Layer) -> None:
    """Let the layer's own numbers say what its weight is."""
    outputs, inputs = layer.weight.shape[:2]
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = outputs, inputs
    else:
        layer.out_channels, layer.in_channels = outputs, inputs * layer.groups
