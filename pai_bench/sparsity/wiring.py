"""Where the output channels of each layer go, read from the network's own computation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, fx, nn

from pai_bench.core.errors import BenchError, first_line
from pai_bench.sparsity.masks import PRUNABLE

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CHANNEL_WISE = (
    nn.Identity, nn.Flatten, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh,
    nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Softplus, nn.Dropout, nn.Dropout2d, nn.AvgPool2d,
    nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.ZeroPad2d,
)  # fmt: skip
"""Modules without parameters that leave each channel in its place, and to itself."""
CHANNEL_WISE_CALLS = {"relu", "relu_", "tanh", "sigmoid", "dropout", "gelu", "silu", "leaky_relu"}
MIXING_CALLS = {"add", "iadd", "cat", "mean", "flatten"}
"""Operations that tie channels to others, or move them: all of these stay."""


@dataclass
class Channels:
    """Who reads the output channels of a layer before they are tied to any others."""

    along: list[str] = field(default_factory=list)
    """Batch norms and depthwise convolutions, which have something of their own per channel."""
    into: list[str] = field(default_factory=list)
    """Convolutions and linear layers that they go into."""


def channels(network: nn.Module, given: Mapping[str, Tensor]) -> dict[str, Channels]:
    """Find the layers whose output channels could be removed, by module name.

    They are those whose output goes into other layers and nowhere else: not to a sum, as in the
    residual stream, and not out of the network. `given` is what each layer gets as input.
    Raises BenchError for a network that cannot be traced, or with operations not known here.
    """
    try:
        graph = fx.Tracer().trace(network)
    except Exception as error:
        raise BenchError(f"the network cannot be traced: {first_line(error)}") from error
    return _Walk(network, given, graph).result()


class _Walk:
    """One pass over the graph, from inputs to outputs."""

    def __init__(self, network: nn.Module, given: Mapping[str, Tensor], graph: fx.Graph) -> None:
        self._modules, self._given = dict(network.named_modules()), given
        self._found: dict[str, Channels] = {}
        self._origin: dict[fx.Node, str | None] = {}
        self._tied: set[str] = set()
        self._calls = Counter(str(n.target) for n in graph.nodes if n.op == "call_module")
        for node in graph.nodes:
            sources = [s for n in node.all_input_nodes if (s := self._origin[n]) is not None]
            self._origin[node] = self._visit(node, sources)

    def result(self) -> dict[str, Channels]:
        return {n: c for n, c in self._found.items() if n not in self._tied and c.into}

    def _visit(self, node: fx.Node, sources: list[str]) -> str | None:
        """Note who reads what; return the layer whose channels this node's output are."""
        name = str(node.target)
        module = self._modules[name] if node.op == "call_module" else None
        if module is not None and self._is_along(name, module):
            for source in sources:
                self._found[source].along.append(name)
        elif module is not None and self._is_plain_layer(name, module):
            for source in sources:
                self._found[source].into.append(name)
            self._found[name] = Channels()
            return name
        elif not _is_channel_wise(node, module):
            _check_known(node, module)
            self._tied.update(sources)
            return None
        return sources[0] if sources else None

    def _is_along(self, name: str, module: nn.Module) -> bool:
        if self._calls[name] > 1:
            return False
        if isinstance(module, nn.Conv2d):
            return 1 < module.groups == module.in_channels == module.out_channels
        return isinstance(module, BATCH_NORMS)

    def _is_plain_layer(self, name: str, module: nn.Module) -> bool:
        """Tell whether dimension 1 of input and output are all that the weight connects."""
        if self._calls[name] > 1:
            return False
        if isinstance(module, nn.Linear):
            return self._given[name].dim() == 2
        return isinstance(module, nn.Conv2d) and module.groups == 1


def _is_channel_wise(node: fx.Node, module: nn.Module | None) -> bool:
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    if module is not None:
        return isinstance(module, CHANNEL_WISE)
    return _called(node) in CHANNEL_WISE_CALLS


def _check_known(node: fx.Node, module: nn.Module | None) -> None:
    """Raise BenchError for what might make a constant of one channel depend on another's values."""
    if module is not None:
        known = isinstance(module, (*PRUNABLE, *BATCH_NORMS, nn.Flatten))
    else:
        known = node.op in ("placeholder", "output") or _called(node) in MIXING_CALLS
    if not known:
        what = type(module).__name__ if module is not None else f"{node.op} {_called(node)}"
        raise BenchError(f"networks with {what} cannot be shrunk")


def _called(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else node.target.__name__
