"""Which modules consume the output channels of each layer, read from a traced graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, fx, nn

from pai_bench.core.errors import BenchError, first_line
from pai_bench.sparsity.account import BATCH_NORMS
from pai_bench.sparsity.masks import PRUNABLE

CHANNEL_WISE = (
    nn.Identity, nn.Flatten, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh,
    nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Softplus, nn.Dropout, nn.Dropout2d, nn.AvgPool2d,
    nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ZeroPad2d,
)  # fmt: skip
"""Modules without parameters that work on each channel by itself and keep their order."""
CHANNEL_WISE_CALLS = {"relu", "relu_", "tanh", "sigmoid", "dropout", "gelu", "silu", "leaky_relu"}
MIXING_CALLS = {"add", "iadd", "cat", "mean", "flatten"}
"""Operations that combine channels with others, or move them: these channels are kept."""


@dataclass
class Channels:
    """The consumers of a layer's output channels, before these are combined with others."""

    along: list[str] = field(default_factory=list)
    """Batch norms and depthwise convolutions, which have parameters for each channel."""
    into: list[str] = field(default_factory=list)
    """Convolutions and linear layers that take them as input."""


def channels(network: nn.Module, layer_inputs: Mapping[str, Tensor]) -> dict[str, Channels]:
    """Find the layers whose output channels could be removed, by module name.

    They are those whose output goes into other layers and nowhere else: not to a sum, as in the
    residual stream, and not out of the network.

    Args:
        network: A network that torch.fx can trace.
        layer_inputs: Layer name -> a batch of its inputs.

    Raises:
        BenchError: The network cannot be traced, or has operations that are not supported.
    """
    try:
        graph = fx.Tracer().trace(network)
    except Exception as error:
        raise BenchError(f"the network cannot be traced: {first_line(error)}") from error
    return _GraphPass(network, layer_inputs, graph).result()


class _GraphPass:
    """One pass over the graph, from inputs to outputs."""

    def __init__(
        self, network: nn.Module, layer_inputs: Mapping[str, Tensor], graph: fx.Graph
    ) -> None:
        self._modules, self._layer_inputs = dict(network.named_modules()), layer_inputs
        self._consumers: dict[str, Channels] = {}
        self._origin: dict[fx.Node, str | None] = {}
        self._combined: set[str] = set()
        self._calls = Counter(str(n.target) for n in graph.nodes if n.op == "call_module")
        for node in graph.nodes:
            sources = [s for n in node.all_input_nodes if (s := self._origin[n]) is not None]
            self._origin[node] = self._visit(node, sources)

    def result(self) -> dict[str, Channels]:
        return {n: c for n, c in self._consumers.items() if n not in self._combined and c.into}

    def _visit(self, node: fx.Node, sources: list[str]) -> str | None:
        """Record the consumers; return the layer whose channels this node's output consists of."""
        name = str(node.target)
        module = self._modules[name] if node.op == "call_module" else None
        if module is not None and self._is_along(name, module):
            for source in sources:
                self._consumers[source].along.append(name)
        elif module is not None and self._is_plain_layer(name, module):
            for source in sources:
                self._consumers[source].into.append(name)
            self._consumers[name] = Channels()
            return name
        elif not _is_channel_wise(node, module):
            _check_supported(node, module)
            self._combined.update(sources)
            return None
        return sources[0] if sources else None

    def _is_along(self, name: str, module: nn.Module) -> bool:
        if self._calls[name] > 1:
            return False
        if isinstance(module, nn.Conv2d):
            return 1 < module.groups == module.in_channels == module.out_channels
        return isinstance(module, BATCH_NORMS)

    def _is_plain_layer(self, name: str, module: nn.Module) -> bool:
        """Whether the weight connects dimension 1 of input and output, and nothing else."""
        if self._calls[name] > 1:
            return False
        if isinstance(module, nn.Linear):
            return self._layer_inputs[name].dim() == 2
        return isinstance(module, nn.Conv2d) and module.groups == 1


def _is_channel_wise(node: fx.Node, module: nn.Module | None) -> bool:
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    if module is not None:
        return isinstance(module, CHANNEL_WISE)
    return _call_name(node) in CHANNEL_WISE_CALLS


def _check_supported(node: fx.Node, module: nn.Module | None) -> None:
    """Raise BenchError for an operation in which one channel may depend on another's values."""
    if module is not None:
        supported = isinstance(module, (*PRUNABLE, *BATCH_NORMS, nn.Flatten))
    else:
        supported = node.op in ("placeholder", "output") or _call_name(node) in MIXING_CALLS
    if not supported:
        operation = type(module).__name__ if module is not None else f"{node.op} {_call_name(node)}"
        raise BenchError(f"networks with {operation} cannot be shrunk")


def _call_name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else node.target.__name__
