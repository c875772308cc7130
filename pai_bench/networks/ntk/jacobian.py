"""The whole Jacobian, image by image, by torch.func: for any network, at the full price."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap


def outputs_and_kernel(
    network: nn.Module,
    parameters: Mapping[str, Tensor],
    images: Tensor,
    first: int,
    masks: Mapping[str, Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """Contract the Jacobians of the `first` images with those of the others."""

    def outputs(given: Mapping[str, Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
        said: Tensor = functional_call(network, dict(given), (image.unsqueeze(0),))[0]
        return said, said

    by_name, said = vmap(jacrev(outputs, has_aux=True), in_dims=(None, 0))(dict(parameters), images)
    kernel = images.new_zeros(())
    for name, part in by_name.items():
        kept = part if masks is None or name not in masks else part * masks[name]
        one, two = kept.flatten(2).split([first, len(images) - first])
        kernel = kernel + (one.flatten(0, 1) @ two.flatten(0, 1).T).view(
            first, said.shape[1], len(two), said.shape[1]
        ).transpose(1, 2)
    return said, kernel
