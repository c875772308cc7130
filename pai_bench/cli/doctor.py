"""Is this machine ready? One line per check, and what to do where it is not."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pai_bench.config.schema import Benchmark
from pai_bench.core.environment import version_of
from pai_bench.core.errors import BenchError, first_line
from pai_bench.data.locations import cached_file, mirror_folder

NEEDED = {
    "torch": "2.9",
    "pytorch-lightning": "2.6.4",
    "torchmetrics": "1.9",
    "datasets": "4",
    "wandb": "0.28.2",
}


@dataclass(frozen=True)
class MachineCheck:
    """One line of the report. `ok` None means: not needed, but good to know."""

    name: str
    ok: bool | None
    found: str
    advice: str = ""


def checks(settings: Benchmark, runs: Path) -> Iterator[MachineCheck]:
    """Examine Python, packages, accelerators, data, W&B and disk. Trains and downloads nothing."""
    yield _python()
    for package, least in NEEDED.items():
        yield _package(package, least)
    yield _accelerator()
    yield from _tpu()
    try:
        yield from _data(settings)
    except BenchError as error:
        yield MachineCheck("data", False, *str(error).split("; "))
    yield _wandb()
    yield _disk(runs)
    yield from _speed(settings, runs)
    yield MachineCheck("next", True, "`make reproduce PAPER=ntk-sap`, or `pai-bench claims --next`")


def _python() -> MachineCheck:
    running = ".".join(map(str, sys.version_info[:3]))
    return MachineCheck(
        "Python", sys.version_info >= (3, 10), running, "install Python 3.10 or newer"
    )


def _package(name: str, least: str) -> MachineCheck:
    from packaging.version import Version

    installed = version_of(name)
    if installed is None:
        return MachineCheck(name, False, "not installed", "run `make install`")
    bad = name == "pytorch-lightning" and installed in ("2.6.2", "2.6.3")
    ok = Version(installed) >= Version(least) and not bad
    return MachineCheck(name, ok, installed, f"needs {least} or newer: run `make install`")


def _accelerator() -> MachineCheck:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return MachineCheck("GPU", True, ", ".join(names))
    advice = "CPU suites run as they are; for a GPU install the torch build that fits its driver"
    return MachineCheck(
        "GPU", None, f"none that this torch can use ({os.cpu_count()} CPU cores)", advice
    )


def _tpu() -> Iterator[MachineCheck]:
    installed = version_of("torch_xla")
    if installed is None:
        advice = "on a TPU host install torch_xla of torch's version; never run on one"
        yield MachineCheck("TPU", None, "torch_xla is not installed", advice)
    else:
        yield MachineCheck("TPU", None, f"torch_xla {installed}; never run on a TPU")


def _data(settings: Benchmark) -> Iterator[MachineCheck]:
    mirror = mirror_folder(settings.mirror)
    if mirror is not None and not mirror.is_dir():
        yield MachineCheck(
            "mirror", False, f"{mirror} is no folder", "mend or unset PAI_BENCH_MIRROR"
        )
        mirror = None
    for name, data in settings.data.items():
        cached = cached_file(name, data)
        if data.hub is None:
            yield MachineCheck(f"data {name}", True, "built in")
        elif cached.is_file():
            yield MachineCheck(f"data {name}", True, f"decoded in {cached.parent}")
        elif mirror is not None and (mirror / (data.folder or name)).is_dir():
            yield MachineCheck(f"data {name}", True, f"mirror {mirror}")
        elif mirror is not None:
            missing = f"the mirror {mirror} has no folder {data.folder or name}"
            yield MachineCheck(f"data {name}", None, missing, "add it, or unset PAI_BENCH_MIRROR")
        else:
            advice = f"`make data DATASET={name}` fetches it, or set PAI_BENCH_MIRROR to a folder"
            yield MachineCheck(
                f"data {name}", None, f"would come from the hub ({data.hub})", advice
            )


def _speed(settings: Benchmark, runs: Path) -> Iterator[MachineCheck]:
    """Networks in an hour: of the papers' quick suites, and on CIFAR-10."""
    from pai_bench.core.hardware import available_cores
    from pai_bench.experiment import grid
    from pai_bench.experiment.cost import estimate_cost
    from pai_bench.launch.speed import measured_speed
    from pai_bench.registry import methods

    jobs = max(1, available_cores() // settings.threads)
    speed = measured_speed([runs], settings)
    quick = [paper.suites["quick"] for paper in settings.papers.values() if "quick" in paper.suites]
    for suite in dict.fromkeys([*quick, *(name for name in _CIFAR if name in settings.suites)]):
        cells = grid.cells(settings, methods.available(), suite)
        cost = estimate_cost(cells, settings, speed, jobs)
        rate = 3600 * len(cells) / cost.seconds
        number = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        found = f"{number} networks an hour with {jobs} workers, as fast as {cost.basis}"
        yield MachineCheck(f"speed {suite}", True, found)


_CIFAR = ("ntk-sap-cifar10", "rigl-cifar10")


def _wandb() -> MachineCheck:
    if version_of("wandb") is None:
        return MachineCheck("W&B", None, "not installed: boards are in the terminal and on pages")
    import wandb

    os.environ["WANDB_SILENT"] = "true"
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return MachineCheck("W&B", True, f"WANDB_MODE={mode}")
    try:
        if wandb.login(prompt=False, verify=False):
            return MachineCheck("W&B", True, "logged in: runs go online")
    except Exception as error:  # the client documents none
        return MachineCheck("W&B", None, first_line(error), "set WANDB_MODE=disabled, or mend it")
    return MachineCheck(
        "W&B", None, "not logged in: runs stay offline", "`wandb login` to go online"
    )


def _disk(runs: Path) -> MachineCheck:
    place = runs if runs.exists() else Path()
    free = shutil.disk_usage(place).free / 2**30
    return MachineCheck("disk", free > 1, f"{free:.0f} GiB free for {runs}/", "free at least 1 GiB")
