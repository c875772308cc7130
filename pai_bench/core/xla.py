"""XLA devices, such as TPUs: operations are recorded, and compiled and run as one graph.

A graph is compiled once for all steps that record the same operations on the same shapes; numbers
are inputs of it. So shapes must not depend on values, and no step may read one. torch_xla is
imported only where there is such a device.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def is_xla(tensor: torch.Tensor) -> bool:
    """Whether a tensor lies on an XLA device."""
    return tensor.device.type == "xla"


def mark_step(device: torch.device, wait: bool = False) -> None:
    """End the graph that an XLA device has recorded, and run it; nothing on other devices.

    Without it a loop becomes one graph, which is compiled anew for each length of the loop.

    Args:
        device: Any device.
        wait: Return only when the device has run it.
    """
    if device.type == "xla":
        import torch_xla

        torch_xla.sync(wait=wait)


def set_process() -> None:
    """Let XLA multiply float32 as float32: a TPU rounds factors to bfloat16 unless it is told."""
    from torch_xla import backends

    if backends.get_mat_mul_precision() != "highest":
        backends.set_mat_mul_precision("highest")


def device_name() -> str:
    """Name of this process's XLA device, as `XLA TPU` or `XLA CPU`."""
    from torch_xla import runtime

    return f"XLA {runtime.device_type()}"


def manual_seed(seed: int) -> None:
    """Seed the generator of the XLA device, which `torch.manual_seed` does not, if there is one."""
    if "torch_xla" in sys.modules:
        import torch_xla

        torch_xla.manual_seed(seed & 0xFFFFFFFF)


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Put the generator of the XLA device back as it was, if there is one."""
    if "torch_xla" not in sys.modules:
        yield
        return
    from torch_xla.core import xla_model

    state = xla_model.get_rng_state()
    try:
        yield
    finally:
        xla_model.set_rng_state(state)
