"""Small-dense: what sparse networks compete with is a narrower network of as many weights."""

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
    """Keep the first units of each hidden layer, and all that connects them: a narrow network.

    One width for all layers, int(c x width) units of c, the largest with at most as many prunable
    weights as the density asks for (RigL, section 4: widths that match the number of parameters).
    It starts as a network of that width would at this seed: weights are drawn anew, by the
    network's initialisation for layers of the smaller shapes. Layers that are not prunable are
    narrow too, but have no masks, and so their weights and FLOPs are counted whole.
    """

    paper = "RigL (ICML 2020)"
    needs_data = False
    needs_labels = False
    changes_weights = True
    exact_density = False

    def sparsify(self, batches: Batches) -> Masks:
        """Choose the width; leave the network with the narrow one's weights."""
        if not len(batches):
            raise BenchError("small-dense looks at the shape of a batch: none was given")
        masks = Masks.ones(self.network)
        wanted = kept_count(masks.total, self.context.density)
        if wanted == masks.total:
            return masks
        narrowing = Narrowing(self.network, tuple(batches[0][0].shape[1:]))
        units = narrowing.units(narrowing.widest(wanted))
        with self.context.rng.as_global("init"):
            small = narrow(self.network, units, self.context.initialise or (lambda _network: None))
        take_over(self.network, small, units)
        weights = prunable(self.network)
        blocks = {weight_name(n): found.block(narrowing.layers[n]) for n, found in units.items()}
        return Masks({name: blocks[name].to(weight.device) for name, weight in weights})


def narrow(
    network: nn.Module, units: Mapping[str, Units], initialise: Callable[[nn.Module], None]
) -> dict[str, Layer]:
    """Draw the layers of the narrow network, by name, as building it would: PyTorch's own start in
    module order, then the network's initialisation."""
    scratch = copy.deepcopy(network).cpu().float()
    for name, layer in layers(scratch):
        parent, _, own = name.rpartition(".")
        setattr(scratch.get_submodule(parent), own, _smaller(layer, units[name]))
    initialise(scratch)
    return dict(layers(scratch))


def _smaller(layer: Layer, units: Units) -> Layer:
    """Make a layer of the same kind between the units that are kept."""
    outputs, inputs = int(units.outputs.sum()), int(units.inputs.sum())
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, layer.bias is not None)
    kind: Any = next(kind for kind in PRUNABLE if isinstance(layer, kind))
    made: Layer = kind(
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
    return made


@torch.no_grad()
def take_over(network: nn.Module, small: Mapping[str, Layer], units: Mapping[str, Units]) -> None:
    """Give the units that are kept the weights and biases of the layers in `small`.

    What has no mask is set to 0 elsewhere, and stays so: nothing comes in and nothing goes out.
    """
    masked = {name for name, _ in prunable(network)}
    for name, layer in layers(network):
        block = units[name].block(layer).to(layer.weight.device)
        if weight_name(name) not in masked:
            layer.weight.zero_()
        layer.weight[block] = small[name].weight.flatten().to(layer.weight)
        bias, drawn = layer.bias, small[name].bias
        if bias is not None and drawn is not None:
            bias[units[name].outputs.to(bias.device)] = drawn.to(bias)
