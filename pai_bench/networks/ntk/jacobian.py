"""The whole Jacobian, image by image, by torch.func: for any network, at full cost."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from pai_bench.networks.ntk.plain import check_outputs


def outputs_and_kernel(
    network: nn.Module,
    parameters: Mapping[str, Tensor],
    images: Tensor,
    first: int,
    masks: Mapping[str, Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """Contract the Jacobians of the `first` images with those of the others."""

    def forward(values: Mapping[str, Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
        outputs: Tensor = functional_call(network, dict(values), (image.unsqueeze(0),))
        check_outputs(outputs)
        return outputs[0], outputs[0]

    per_image = vmap(jacrev(forward, has_aux=True), in_dims=(None, 0))
    jacobians, outputs = per_image(dict(parameters), images)
    kernel = images.new_zeros(())
    for name, jacobian in jacobians.items():
        kept = jacobian if masks is None or name not in masks else jacobian * masks[name]
        one, two = kept.flatten(2).split([first, len(images) - first])
        kernel = kernel + (one.flatten(0, 1) @ two.flatten(0, 1).T).view(
            first, outputs.shape[1], len(two), outputs.shape[1]
        ).transpose(1, 2)
    return outputs, kernel
