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


def mark_step(device: torch.device) -> None:
    """End the graph that an XLA device has recorded, and run it; nothing on other devices.

    Without it a loop becomes one graph, which is compiled anew for each length of the loop.
    """
    if device.type == "xla":
        import torch_xla

        torch_xla.sync()


def synchronize(device: torch.device) -> None:
    """Wait until an XLA device has run what it has recorded; nothing on other devices.

    The end of a graph moves the device's generator on: here it stays, as this may be done at any
    time (before a checkpoint, say).
    """
    if device.type == "xla":
        import torch_xla

        with unchanged_random_state():
            torch_xla.sync(wait=True)


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
    state = random_state()
    try:
        yield
    finally:
        restore(state)


def random_state() -> int | None:
    """State of the generator of the XLA device; None if there is none."""
    if "torch_xla" not in sys.modules:
        return None
    from torch_xla.core import xla_model

    return int(xla_model.get_rng_state())


def restore(state: int | None) -> None:
    """Put the generator of the XLA device back, if there is one, to what `random_state` gave."""
    if state is not None:
        from torch_xla.core import xla_model

        xla_model.set_rng_state(state)
