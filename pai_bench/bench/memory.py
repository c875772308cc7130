"""Memory of scoring ResNet-50 at 224 pixels, by method."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pai_bench import networks
from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.core.rng import RandomStreams
from pai_bench.networks import recompute
from pai_bench.registry import methods as registry
from pai_bench.training.context import MethodContext

NETWORK, DATA, RECIPE = "resnet-50", "imagenet-1k", "ntk-sap-imagenet"
SIZES = (8, 16)
"""Images of the batches that are measured: memory is linear in their number."""
_THRESHOLD = "MALLOC_MMAP_THRESHOLD_"
LIMIT = 24.0
"""GiB that scoring may take."""


@dataclass(frozen=True)
class MemoryCase:
    """A method, with as few rounds as it can have: each takes the same memory."""

    method: str
    hyper: dict[str, Any] = field(default_factory=dict)


CASES = (
    MemoryCase("random"),
    MemoryCase("magnitude"),
    MemoryCase("synflow", {"rounds": 1}),
    MemoryCase("snip"),
    MemoryCase("iterative-snip", {"rounds": 1}),
    MemoryCase("force", {"rounds": 1}),
    MemoryCase("ntk-sap", {"rounds": 1, "repeats": 1}),
    MemoryCase("grasp"),
)


def measure(console: Console, settings: Benchmark, device: str = "cpu") -> None:
    """Print the peak memory of scoring, measured with few images and extrapolated to a batch.

    Each measurement is made in a process of its own: on a CPU it is the process's peak, with what
    it has imported; on a GPU that of the device.
    """
    batch = settings.recipes[RECIPE].score_batch_size
    table = Table(title=f"Memory of scoring {NETWORK} at 224 pixels, GiB", title_justify="left")
    for heading in (
        "method", *(f"{size} images" for size in SIZES), "an image", f"{batch} images",
        f"images in {LIMIT:g} GiB",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for case in CASES:
        peaks = [_peak(case, settings, size, device) for size in SIZES]
        table.add_row(case.method, *_row(peaks, batch))
    console.print(table)


def _row(peaks: Sequence[float], batch: int) -> list[str]:
    slope, base = line(SIZES, peaks)
    most = f"{int((LIMIT - base) / slope)}" if slope > 1e-3 else "any"
    figures = [*peaks, slope, base + batch * slope]
    return [*(f"{figure:.2f}" for figure in figures), most]


def line(sizes: Sequence[int], peaks: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the line through two measurements.

    >>> line((4, 8), (1.4, 1.8))
    (0.1, 1.0)
    """
    slope = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
    return round(slope, 9), round(peaks[0] - slope * sizes[0], 9)


def _peak(case: MemoryCase, settings: Benchmark, images: int, device: str) -> float:
    context = multiprocessing.get_context("spawn")
    pipe, of_process = context.Pipe()
    process = context.Process(target=_score, args=(of_process, case, settings, images, device))
    with _mapped():
        process.start()
    of_process.close()
    try:
        return float(pipe.recv())
    finally:
        process.join()


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    """Let a process that is started give back each tensor's memory, as glibc does with large ones.

    Tensors of a whole batch are; those of a few images would share a heap, whose holes count.
    """
    os.environ[_THRESHOLD] = str(2**18)
    try:
        yield
    finally:
        del os.environ[_THRESHOLD]


def _score(
    pipe: Connection, case: MemoryCase, settings: Benchmark, images: int, device: str
) -> None:
    """Score a batch of noise, and send the peak in GiB."""
    torch.set_num_threads(settings.threads)
    recompute.LARGE = 0  # Batches of the recipe are large, and treated as such.
    data = settings.data[DATA]
    network = networks.build(settings.networks[NETWORK], data.shape, data.classes).to(device)
    context = MethodContext(0.1, settings.recipes[RECIPE], data.classes, RandomStreams(1))
    module = registry.load(case.method)(network, context, **case.hyper)
    batch = torch.randn(images, *data.shape, device=device), torch.arange(images, device=device)
    environment.peak_memory_reset()
    module.sparsify(module.restrict_inputs([batch]))
    if device == "cpu":
        pipe.send((environment.peak_memory_mb() or 0.0) / 1024)
    else:
        pipe.send(torch.cuda.max_memory_allocated(device) / 2**30)
