"""Small-dense: a narrower dense network with as many weights as the sparse ones."""

from __future__ import annotations

from pai_bench import Masks, SparseClassifier, prunable, register
from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import weight_name
from pai_bench.sparsity.narrow import Narrowing, copy_units, narrow
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
    ranks_scores = False
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
