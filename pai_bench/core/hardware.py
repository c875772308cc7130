"""What cells run on, and how they are spread over several GPUs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from pai_bench.core.errors import BenchError


@dataclass(frozen=True)
class Hardware:
    """What the Trainer runs on, passed through to it."""

    accelerator: str = "auto"
    devices: str = "auto"
    strategy: str = "auto"
    """`ddp`: each network is trained on all devices; else on one of them."""
    accumulate: int = 1
    """Pieces in which each device passes its part of a batch, for want of memory."""
    nodes: int = 1
    """Machines with such devices, which train each network together by `ddp`."""

    @property
    def trains_alone(self) -> bool:
        """Whether networks are trained one at a time, not several in a bundle."""
        return self.is_distributed or self.accumulate > 1

    @property
    def is_distributed(self) -> bool:
        """Whether one network is trained on several devices."""
        return self.strategy == "ddp" and self.ranks * self.nodes > 1

    @property
    def ranks(self) -> int:
        """Number of processes of a machine that train a network by `ddp`, one a device."""
        devices = self.each_device
        return len(devices) if isinstance(devices, list) else devices

    @property
    def each_device(self) -> list[int] | int:
        """The GPUs that train a network by `ddp`; on a CPU, the number of processes.

        >>> Hardware("cpu", "2", "ddp").each_device, Hardware("gpu", "0,3", "ddp").each_device
        (2, [0, 3])
        """
        return gpus_of(self) or (int(self.devices) if self.devices.isdigit() else 1)


def share(hardware: Hardware, index: int) -> Hardware:
    """Give a worker one of the GPUs, in turn; without GPUs what was asked for passes through.

    It passes through as well where each network is trained on all of them.
    """
    gpus = [] if hardware.is_distributed else gpus_of(hardware)
    return replace(hardware, devices=f"{gpus[index % len(gpus)]},") if gpus else hardware


def gpus_of(hardware: Hardware) -> list[int]:
    """List the GPUs over which cells are spread: those named, the first so many, or all there are.

    Empty where no GPU is asked for, or none is there and any accelerator will do.
    """
    accelerator, devices = hardware.accelerator, hardware.devices
    count = _gpu_count()
    if accelerator not in ("auto", "gpu") or (accelerator == "auto" and not count):
        return []
    if "," in devices:
        return [int(part) for part in devices.split(",") if part.strip()]
    return list(range(count if devices == "auto" else int(devices)))


def check_devices(hardware: Hardware) -> None:
    """Raise BenchError for more devices than there are, whether or not anything is left to train.

    Where this machine's GPUs cannot be counted without torch, as of other makers than NVIDIA, torch
    counts them.
    """
    accelerator, devices = hardware.accelerator, hardware.devices
    check_strategy(hardware)
    if devices == "auto" or accelerator == "tpu":
        return
    count = 0 if accelerator == "cpu" else _gpu_count() or _torch_gpu_count()
    if not count and accelerator != "gpu":
        if "," in devices or not (devices == "1" or hardware.is_distributed):
            raise BenchError(
                "--devices: a cell uses one CPU device; --jobs runs cells side by side, "
                "--strategy ddp trains each in several processes"
            )
        return
    highest = (
        max([int(part) + 1 for part in devices.split(",") if part.strip()])
        if "," in devices
        else int(devices)
    )
    if highest > count:
        raise BenchError(f"--devices {devices}: this machine has {count} GPUs that can be used")


def check_strategy(hardware: Hardware) -> None:
    """Raise BenchError for a strategy that there is not, or one of a single machine for several."""
    if hardware.strategy not in ("auto", "ddp"):
        raise BenchError(f"--strategy {hardware.strategy}: networks are trained by auto or ddp")
    if hardware.nodes > 1 and hardware.strategy != "ddp":
        raise BenchError(f"{hardware.nodes} nodes train each network together: add --strategy ddp")


def _torch_gpu_count() -> int:
    import torch

    return torch.accelerator.device_count() if torch.accelerator.is_available() else 0


def loader_workers(ranks: int = 1) -> int:
    """Number of processes that decode photographs for one cell: at most one a core, at most 12.

    A divisor of the number of lanes of data/order.py, so that each part of a file is read once.

    Args:
        ranks: Number of processes that train the network on this machine, and share its cores.
    """
    cores = available_cores() // ranks
    return max(count for count in (1, 2, 3, 4, 6, 8, 12) if count <= max(1, cores))


def available_cores() -> int:
    """CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def gpu_names() -> list[str]:
    """Names of the NVIDIA devices of this machine, as PyTorch has them, without importing it."""
    names = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in path.read_text().splitlines():
            if line.startswith("Model:"):
                names.append(line.partition(":")[2].strip())
    return names


def _gpu_count() -> int:
    """Count NVIDIA devices without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
