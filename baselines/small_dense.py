"""Small-dense: a narrower dense network with as many weights as the sparse ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from pai_bench import Masks, SparseClassifier, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import PRUNABLE, Layer, layers, weight_name
from pai_bench.sparsity.narrow import Narrowing, Units, is_depthwise
from pai_bench.sparsity.select import kept_count
from pai_bench.training.restricted_batches import Batches


@register("small-dense")
class SmallDense(SparseClassifier):
    """Keep the first units of each hidden layer, densely connected: a narrow network.

    All layers have the same relative width, int(c x width) of c units: the largest with at most the
    target number of prunable weights (RigL, section 4: widths that match the number of parameters).
    It starts like a network of that width at this seed: weights are drawn by the network's
    initialisation for layers of the smaller shapes. Layers that are not prunable are narrow too,
    but have no masks, so that their weights and FLOPs are counted as dense.
    """

    paper = "RigL (ICML 2020)"
    needs_data = False
    needs_labels = False
    changes_weights = True
    exact_density = False

    def sparsify(self, batches: Batches) -> Masks:
        """Choose the width, and copy the weights of the narrow network into the network."""
        if not len(batches):
            raise BenchError("small-dense needs a batch for its shape; none was given")
        masks = Masks.ones(self.network)
        target = kept_count(masks.total, self.context.density)
        if target == masks.total:
            return masks
        narrowing = Narrowing(self.network, tuple(batches[0][0].shape[1:]))
        units = narrowing.units(narrowing.widest(target))
        with self.context.rng.as_global("init"):
            small = narrow(self.network, units, self.context.initialise or (lambda _network: None))
        copy_units(self.network, small, units)
        weights = prunable(self.network)
        blocks = {weight_name(n): kept.block(narrowing.layers[n]) for n, kept in units.items()}
        return Masks({name: blocks[name].to(weight.device) for name, weight in weights})


def narrow(
    network: nn.Module, units: Mapping[str, Units], initialise: Callable[[nn.Module], None]
) -> dict[str, Layer]:
    """Build the layers of the narrow network, with weights drawn as in building it.

    PyTorch's default initialisation comes first, in module order, then the network's.

    Returns:
        Layer name -> layer on the CPU, in float32.
    """
    scratch = copy.deepcopy(network).cpu().float()
    for name, layer in layers(scratch):
        parent, _, attribute = name.rpartition(".")
        setattr(scratch.get_submodule(parent), attribute, _smaller(layer, units[name]))
    initialise(scratch)
    return dict(layers(scratch))


def _smaller(layer: Layer, units: Units) -> Layer:
    """Build a layer of the same kind between the units that are kept."""
    outputs, inputs = int(units.outputs.sum()), int(units.inputs.sum())
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, layer.bias is not None)
    kind: Any = next(kind for kind in PRUNABLE if isinstance(layer, kind))
    smaller: Layer = kind(
        inputs,
        outputs,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        groups=outputs if is_depthwise(layer) else 1,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
    )
    return smaller


@torch.no_grad()
def copy_units(network: nn.Module, small: Mapping[str, Layer], units: Mapping[str, Units]) -> None:
    """Copy the weights and biases of the layers in `small` to the units that are kept.

    The other weights of layers without masks are set to 0, and stay 0: their inputs and the
    gradients of their outputs are 0.
    """
    masked = {name for name, _ in prunable(network)}
    for name, layer in layers(network):
        block = units[name].block(layer).to(layer.weight.device)
        if weight_name(name) not in masked:
            layer.weight.zero_()
        layer.weight[block] = small[name].weight.flatten().to(layer.weight)
        bias, small_bias = layer.bias, small[name].bias
        if bias is not None and small_bias is not None:
            bias[units[name].outputs.to(bias.device)] = small_bias.to(bias)
