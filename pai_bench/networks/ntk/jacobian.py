"""The whole Jacobian, image by image: for any network, at full cost."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from pai_bench.networks.ntk.plain import check_outputs

Parameters = Mapping[str, Tensor]


def outputs_and_kernel(
    network: nn.Module,
    parameters: Parameters,
    images: Tensor,
    first: int,
    masks: Mapping[str, Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """Contract the Jacobians of the `first` images with those of the others."""
    try:
        jacobians, outputs = _vectorised(network, parameters, images)
    except RuntimeError as error:
        if "random" in str(error):
            raise
        # Some layers (PReLU) have no vectorised derivative that is right.
        jacobians, outputs = _one_by_one(network, parameters, images)
    kernel = images.new_zeros(())
    for name, jacobian in jacobians.items():
        kept = jacobian if masks is None or name not in masks else jacobian * masks[name]
        one, two = kept.flatten(2).split([first, len(images) - first])
        kernel = kernel + (one.flatten(0, 1) @ two.flatten(0, 1).T).view(
            first, outputs.shape[1], len(two), outputs.shape[1]
        ).transpose(1, 2)
    return outputs, kernel


def _vectorised(
    network: nn.Module, parameters: Parameters, images: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Jacobians (n, k, ...) by name, and outputs (n, k), by torch.func."""

    def forward(values: Parameters, image: Tensor) -> tuple[Tensor, Tensor]:
        outputs = _output(network, values, image)
        return outputs, outputs

    per_image = vmap(jacrev(forward, has_aux=True), in_dims=(None, 0))
    jacobians, outputs = per_image(dict(parameters), images)
    return jacobians, outputs


def _output(network: nn.Module, parameters: Parameters, image: Tensor) -> Tensor:
    outputs: Tensor = functional_call(network, dict(parameters), (image.unsqueeze(0),))
    check_outputs(outputs)
    return outputs[0]


def _one_by_one(
    network: nn.Module, parameters: Parameters, images: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """The same by autograd, one output of one image after another."""
    graph = torch.is_grad_enabled() and any(p.requires_grad for p in parameters.values())
    values = {
        name: p if graph and p.requires_grad else p.detach().requires_grad_()
        for name, p in parameters.items()
    }
    before = torch.get_rng_state()
    with torch.enable_grad():
        outputs = torch.stack([_output(network, values, image) for image in images])
    if not torch.equal(before, torch.get_rng_state()):
        raise RuntimeError("the forward pass draws at random")
    rows = [
        torch.autograd.grad(
            each, list(values.values()),
            retain_graph=True, create_graph=graph, materialize_grads=True,
        )
        for each in outputs.flatten()
    ]  # fmt: skip
    jacobians = {
        name: torch.stack(of_all).unflatten(0, outputs.shape)
        for name, of_all in zip(values, zip(*rows, strict=True), strict=True)
    }
    return jacobians, outputs if graph else outputs.detach()
