"""How suites would run on a cluster: bundles, hours and bytes, by simulation of its queue.

A GPU that is free takes the next bundle, the longest first. Nothing is measured here: seconds are
those of an assumed device (experiment/cost.py), sizes are counted.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import GPU, Assumption, assumed_seconds, training_images
from pai_bench.launch.bundling import bundled
from pai_bench.launch.probe import SIZES, best_size

CHECKPOINT = 9
"""Bytes of a checkpoint for each parameter: weight and momentum in float32, and a mask."""


@dataclass(frozen=True)
class SimulatedBundle:
    """A bundle, its seconds on one GPU, and the bytes that it leaves."""

    bundle: Bundle
    seconds: float
    results: float
    """Bytes of the results of its cells."""
    checkpoint: float
    """Bytes of its checkpoint, while it runs."""


@dataclass(frozen=True)
class Sizes:
    """What is stored of cells."""

    prunable: Mapping[tuple[str, str], int]
    """Prunable weights by network and data set: a mask takes a byte for each."""
    parameters: Mapping[tuple[str, str], int]
    records: float
    """Bytes of the JSON files of one cell."""


def simulated_bundles(
    cells: Sequence[Cell],
    settings: Benchmark,
    searching: Container[str],
    factors: Mapping[str, float],
    sizes: Sizes,
    assumed: Assumption = GPU,
) -> list[SimulatedBundle]:
    """Bundle the cells of a suite as a run on GPUs does.

    Args:
        cells: The cells.
        settings: The benchmark.
        searching: Names of the methods that train before they prune.
        factors: By method: how many times as long as a training alone a cell of it takes.
        sizes: What is stored of cells.
        assumed: The device.
    """
    size = stack_size(cells[0], settings, assumed)
    work = bundled(cells, size, Hardware("gpu", "1"), settings, searching=searching)
    return [_simulated(bundle, settings, factors, sizes, assumed) for bundle in work]


def stack_size(cell: Cell, settings: Benchmark, assumed: Assumption = GPU) -> int:
    """Choose the size of stacks as the probe of a run does, from what steps would take."""
    if settings.data[cell.data].stream:
        return 1  # Photographs are decoded batch by batch.
    steps = cell.recipe.training_steps(training_images(cell, settings))
    own = assumed_seconds(cell, settings, assumed) / steps - assumed.step_overhead
    return best_size((size, assumed.step_overhead + size * own) for size in SIZES)


def _simulated(
    bundle: Bundle,
    settings: Benchmark,
    factors: Mapping[str, float],
    sizes: Sizes,
    assumed: Assumption,
) -> SimulatedBundle:
    """Networks of a stack share what a step costs besides arithmetic."""
    first = bundle.cells[0]
    alone = assumed_seconds(first, settings, assumed)
    steps = first.recipe.training_steps(training_images(first, settings))
    shared = steps * assumed.step_overhead
    searches = sum((factors.get(cell.method, 1.0) - 1.0) * alone for cell in bundle)
    key = first.network, first.data
    return SimulatedBundle(
        bundle,
        seconds=shared + len(bundle) * (alone - shared) + searches,
        results=len(bundle) * (sizes.prunable[key] + sizes.records),
        checkpoint=float(len(bundle) * sizes.parameters[key] * CHECKPOINT),
    )


def hours_on(work: Iterable[SimulatedBundle], gpus: int) -> float:
    """Hours until all bundles are done, if a free GPU takes the longest one that is left.

    >>> from types import SimpleNamespace as Of
    >>> hours_on([Of(seconds=3600.0 * hours) for hours in (1, 2, 3, 2)], 2)
    4.0
    """
    free = [0.0] * gpus
    for seconds in sorted((one.seconds for one in work), reverse=True):
        heapq.heapreplace(free, free[0] + seconds)
    return max(free) / 3600


def largest_checkpoints(work: Iterable[SimulatedBundle], gpus: int) -> float:
    """Bytes of the checkpoints of as many bundles as run at one time, the largest ones."""
    return sum(heapq.nlargest(gpus, (one.checkpoint for one in work)))
