"""One pass over a first batch: do the outputs depend on the weights, and on no others?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pai_bench.core.errors import BenchError
from pai_bench.core.nested import map_tensors
from pai_bench.core.rng import unchanged_random_state
from pai_bench.methods.validate.failures import in_one_line
from pai_bench.networks.scratch import scratch_copy
from pai_bench.sparsity.masks import prunable

SAMPLE = 2
"""Images of the batch that are passed; all of them where the network wants them all."""


def probe(network: nn.Module, original: nn.Module, inputs: Any) -> Tensor:
    """Run a copy of `network` in evaluation mode, and look at what its outputs depend on.

    Args:
        network: The copy that methods work on.
        original: The caller's network, of which the outputs must be independent.
        inputs: Inputs of a batch, which may be changed.

    Returns:
        The outputs, without gradient.

    Raises:
        BenchError: The forward pass fails, or does not use the network's own weights with gradient.
    """
    with unchanged_random_state(), torch.inference_mode(False), torch.enable_grad():
        scratch = scratch_copy(network).eval()
        for parameter in scratch.parameters():
            parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
        outputs = _passed(scratch, inputs)
        leaves = _leaves(outputs)
    for name, parameter in original.named_parameters():
        if id(parameter) in leaves:
            raise BenchError(
                f"the forward pass uses {name} of this very network even in a copy of it: it was "
                "replaced by a function that holds on to layers; define it in the class"
            )
    if not any(id(weight) in leaves for _, weight in prunable(scratch)):
        raise BenchError(
            "the outputs do not depend on any prunable weight: the forward pass uses others, or no "
            "gradient reaches them (no_grad, detach, use_reentrant=True)"
        )
    return outputs.detach()


def _passed(network: nn.Module, inputs: Any) -> Tensor:
    with in_one_line("the forward pass of the network fails"):
        if isinstance(inputs, Tensor) and len(inputs) > SAMPLE:
            try:
                sample: Tensor = network(inputs[:SAMPLE].clone())
                return sample
            except BenchError:
                raise
            except Exception:  # A network for batches of one size: all of it is passed below.
                pass
        outputs: Tensor = network(map_tensors(inputs, Tensor.clone))
        return outputs


def _leaves(outputs: Tensor) -> set[int]:
    """Identities of the tensors with `requires_grad` that outputs were computed from."""
    found: set[int] = set()
    seen, pending = set(), [outputs.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if "CheckpointFunctionBackward" in node.name():
            raise BenchError(
                "the network uses torch.utils.checkpoint with use_reentrant=True, which hides "
                "layers from scores: use use_reentrant=False"
            )
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        pending.extend(parent for parent, _ in node.next_functions)
    return found
